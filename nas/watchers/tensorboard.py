"""TensorBoard: a search as event files, one run for each arm."""

from __future__ import annotations

import math
import time
from collections import Counter
from typing import TYPE_CHECKING, final

from nas.history import BESIDE, History, TrialRecord
from nas.tally import Tally
from nas.watcher import Watched, Watcher
from workers.errors import UserError
from workers.pool import Pool

if TYPE_CHECKING:
    from tensorboardX import SummaryWriter

INTERVAL = 2.0  # seconds between two looks at the search
COST = 0.02  # the share of the driver's time that this may take
EARLIER = 500  # points of a count that what earlier drivers did comes to; TensorBoard itself shows at most 1,000
SEARCH = "search"  # the run of what no arm has alone


@final
class Tensorboard(Watcher):
    """Writes what TensorBoard shows: over the trials told, the best of each arm so far, and how trials ended.

    The run `search` has `trials/OUTCOME`, `slots/busy` and `slots/free`; a run of each arm has `best/METRIC` at the
    steps at which it became better, full trainings only. They are in `folder/SEARCH`, by default in `tensorboard` in
    the search's own folder. A next driver writes what was before it again, from the journal, and has TensorBoard drop
    the old points; so nothing is there twice, and nothing that a killed driver had not written out is missing.
    """

    def __init__(self, watched: Watched, folder: str = "") -> None:
        self._folder = watched.beside(folder) / watched.search if folder else watched.folder / "tensorboard"
        self._objectives = watched.objectives
        self._due = -math.inf
        self._tally = Tally(watched.objectives)
        self._writers: dict[str, SummaryWriter] = {}
        self._best: dict[tuple[str, str], float] = {}
        self._outcomes: Counter[str] = Counter()
        self._told = 0
        self._writer(SEARCH)  # what is missing is said before anything is searched

    def turn(self, history: History, pool: Pool) -> None:
        if (now := time.monotonic()) < self._due:
            return
        self._write(history)
        self._slots(pool.busy, pool.free)
        took = time.monotonic() - now
        self._due = now + took + max(INTERVAL, took / COST)

    def end(self, history: History, state: str, reason: str) -> None:
        self._write(history)

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()

    def _write(self, history: History) -> None:
        """Write what ended since the last time, in the order it was told."""
        ended = [record for record in self._tally.update(history) if record.arm not in BESIDE]
        ended.sort(key=lambda record: record.ended_at or 0.0)
        stride = max(1, len(ended) // EARLIER)
        for place, record in enumerate(ended):
            self._told += 1
            self._outcomes[str(record.result.outcome) if record.result else ""] += 1
            self._improve(record)
            if place % stride == 0 or place == len(ended) - 1:
                self._count(record)
        for writer in self._writers.values():
            writer.flush()

    def _improve(self, record: TrialRecord) -> None:
        for objective in self._objectives if record.full else ():
            gains = record.gains((objective,))
            key = record.arm, objective.metric
            if gains is not None and math.isfinite(gains[0]) and gains[0] > self._best.get(key, -math.inf):
                self._best[key] = gains[0]
                value = objective.gain(gains[0])  # its own inverse
                self._writer(record.arm).add_scalar(f"best/{objective.metric}", value, self._told, record.ended_at)

    def _count(self, record: TrialRecord) -> None:
        for outcome, number in self._outcomes.items():
            self._writer(SEARCH).add_scalar(f"trials/{outcome}", number, self._told, record.ended_at)

    def _slots(self, busy: int, free: int) -> None:
        for name, number in (("busy", busy), ("free", free)):
            self._writer(SEARCH).add_scalar(f"slots/{name}", number, self._told)

    def _writer(self, run: str) -> SummaryWriter:
        """The writer of a run, whose first word is that what earlier drivers wrote is void."""
        if run not in self._writers:
            try:
                from tensorboardX import SummaryWriter
            except ModuleNotFoundError as error:
                raise UserError(
                    f"watch: tensorboard needs {error.name}: pip install 'cellwright[tensorboard]'"
                ) from error
            folder = self._folder / run
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UserError(f"watch: tensorboard cannot write to {folder}: {error.strerror}") from error
            order = f".{time.time_ns()}"  # files are read by name, and a name alone says no more than the second
            self._writers[run] = SummaryWriter(str(folder), purge_step=0, filename_suffix=order)
        return self._writers[run]
