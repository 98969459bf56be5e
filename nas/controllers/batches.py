"""Batches: what a journal says of a controller's children: which were asked together, what was told of them when."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import count
from typing import TYPE_CHECKING, Final, TypeAlias, final

from search_spaces.decisions import Candidate
from workers.trial import Trial

if TYPE_CHECKING:
    from parameter_server.store import Pull

RECENT: Final = 100  # children whose log-probabilities are kept

Key: TypeAlias = tuple[int, int]  # a replica, and the number of a batch of its


@final
@dataclass(slots=True)
class OpenBatch:
    """Children of one replica, in the order they were asked; `gains` of those that were told.

    It is the `number`-th batch of its lane; those under way are in different lanes. `base` are the parameters that it
    samples from, None where they are not known (yet).
    """

    lane: int
    number: int
    candidates: dict[int, Candidate] = field(default_factory=dict)
    log_probabilities: list[float] = field(default_factory=list)
    gains: dict[int, float | None] = field(default_factory=dict)
    base: Pull | None = None


@final
class _Lanes:
    """The lanes of one replica: which are taken, and how many batches each has had."""

    def __init__(self) -> None:
        self.taken: set[int] = set()
        self._batches: Counter[int] = Counter()

    def begin(self) -> OpenBatch:
        """A batch in the first lane that is free.

        Lane and number follow from the journal before the batch's first child is trained: whatever a driver that died
        had heard and not written, what it pushed for a batch counts as what the next one pushes for it.
        """
        lane = next(lane for lane in count() if lane not in self.taken)
        self.taken.add(lane)
        self._batches[lane] += 1
        return OpenBatch(lane, self._batches[lane] - 1)


@final
@dataclass(frozen=True, slots=True)
class Past:
    """How things stood after some turns: batches under way, and those ended, the oldest first; how many were heard.

    `filling` is that of them which still is not full now.
    `lessons` are the batches that were learned from, by replica and lane: how many there were, and the last one's
    number in its lane. From a batch that ended before any gain was heard nothing can be learned.
    """

    open: Sequence[Key]
    ended: Sequence[Key]
    heard: int
    lessons: Mapping[tuple[int, int], tuple[int, int]]
    filling: Key | None


@final
class Batches:
    """Follows from what is heard alone; `known` stands for the settings, `size` is the children of a batch.

    `open` are those that began and are not `closed`; a `turn` is one that began (-1) or ended (after so many gains were
    `heard`), in this order, and each has a mark: a digest of all that was heard until then, and of the settings.
    """

    def __init__(self, replicas: int, size: int, known: str) -> None:
        self.replicas, self.size = replicas, size
        self.open: dict[Key, OpenBatch] = {}
        self.filling: Key | None = None
        self.heard: list[float | None] = []
        self.turns: list[tuple[Key, int]] = []
        self.marks: list[str] = []
        self.recent: deque[float] = deque(maxlen=RECENT)  # log-probabilities
        self._places: dict[int, Key] = {}  # of the trials in batches that are not complete
        self._started = [0] * replicas
        self._lanes = [_Lanes() for _ in range(replicas)]
        self._mark = _digest(known)

    def asked(self, trial: Trial) -> None:
        """A trial whose note has its `replica`, its `batch` and its `log_probability`."""
        key = trial.note["replica"], trial.note["batch"]
        probability, values = float(trial.note["log_probability"]), sorted(trial.candidate.json().items())
        self._mark = _digest(f"{self._mark} {trial.id} {key} {probability} {values}")
        if key not in self.open:
            self.open[key] = self._lanes[key[0]].begin()
            self._turn(key, -1)
            self._started[key[0]] += 1
        batch = self.open[key]
        batch.candidates[trial.id] = trial.candidate
        batch.log_probabilities.append(trial.note["log_probability"])
        self.recent.append(trial.note["log_probability"])
        self._places[trial.id] = key
        self.filling = key if len(batch.candidates) < self.size else None

    def __contains__(self, trial: int) -> bool:
        """Whether its result is awaited."""
        return trial in self._places

    def told(self, trial: int, gain: float | None) -> None:
        """A trial of these ended."""
        key = self._places.pop(trial)
        self.heard.append(gain)
        self._mark = _digest(f"{self._mark} {trial} {None if gain is None else float(gain)}")
        batch = self.open[key]
        batch.gains[trial] = gain
        if len(batch.gains) == self.size:
            self._turn(key, len(self.heard))
            self._lanes[key[0]].taken.discard(batch.lane)

    def next(self) -> Key:
        """The batch that the next child is of: what is not full, else of the replica that waits for the fewest."""
        if self.filling is not None:
            return self.filling
        replica = min(range(self.replicas), key=lambda r: (len(self._lanes[r].taken), self._started[r]))
        return replica, self._started[replica]

    def mark(self, turns: int) -> str:
        """That of the last of the first so many turns; empty where there are none, or not so many."""
        return self.marks[turns - 1] if 0 < turns <= len(self.marks) else ""

    def past(self, turns: int) -> Past:
        """How it was after the first so many turns, of batches none of which is closed yet."""
        first = next((number for number, gain in enumerate(self.heard, 1) if gain is not None), len(self.heard) + 1)
        begun, ended = dict[Key, None](), list[Key]()
        lessons: dict[tuple[int, int], tuple[int, int]] = {}
        heard = 0
        for key, after in self.turns[:turns]:
            if after < 0:
                begun[key] = None
                continue
            del begun[key]
            ended.append(key)
            heard, batch = after, self.open[key]
            if heard >= first:
                place = key[0], batch.lane
                lessons[place] = lessons.get(place, (0, 0))[0] + 1, batch.number
        return Past(list(begun), ended, heard, lessons, self.filling if self.filling in begun else None)

    def resume(self, past: Past, bases: Mapping[Key, Pull]) -> None:
        """Close what had ended then; what was under way goes on with the parameters that it samples from."""
        for key in past.ended:
            del self.open[key]
        for key, base in bases.items():
            self.open[key].base = base

    def _turn(self, key: Key, heard: int) -> None:
        self.turns.append((key, heard))
        self.marks.append(self._mark)


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=16).hexdigest()
