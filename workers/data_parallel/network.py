"""The network of a training that workers share and its batches, the same in every process."""

from __future__ import annotations

import torch

from search_spaces.space import Space
from workers.batches import Batches
from workers.data_parallel.parallel_training import ParallelTraining
from workers.errors import UserError
from workers.lineage import network_of
from workers.seeds import derived
from workers.task import State, Task


def batches_of(training: ParallelTraining, space: Space | None, task: Task, state: State | None = None) -> Batches:
    """All batches of `training`, with the network as it begins: fresh, from the seed, or as in `state`."""
    if space is None:
        raise UserError("there is no search space, so there is no network to train")
    torch.set_num_threads(training.setup.threads)
    torch.manual_seed(derived(training.trial.seed, "trial"))  # as a search draws the weights of a child
    model = network_of(space, task, training.trial.candidate)
    return task.batches(model, training.trial, state, training.parts)
