"""Session: a training that workers share, from the first batch to the trained network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from parameter_server.store import Store
from workers.batches import Batches
from workers.data_parallel.coordinator import Coordinator
from workers.data_parallel.crew import Crew
from workers.data_parallel.journal import Journal
from workers.data_parallel.member import adopt, arrays
from workers.data_parallel.parallel_training import ParallelTraining
from workers.data_parallel.tally import Tally
from workers.task import State


@final
@dataclass(frozen=True)
class Session:
    """The training, its batches in this process, the store, and who learns."""

    training: ParallelTraining
    batches: Batches
    store: Store
    journal: Journal

    def run(self, crew: Crew, report: Callable[[Tally], None]) -> tuple[State, Tally]:
        """Have every batch counted, and give the network that comes of it.

        The statistics of its normalisations are computed here, at the end, with the final weights: workers see
        different batches with different weights, and the mean of what each remembers belongs to none.
        """
        batches, training = self.batches, self.training
        self.store.create(arrays(batches.model))
        tally = Tally(batches.count, batches.per_epoch)
        Coordinator(tally, training.slots, training.in_lockstep, crew, self.journal).run(report)
        adopt(batches.model, self.store.pull().tensors)
        batches.settle()
        return batches.state(), tally
