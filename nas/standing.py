"""Standing: where a search stands, from its entries one by one, without what it no longer needs of them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias, final

from nas.history import BESIDE, Entry, History, TrialRecord
from nas.kinds import finite, row, seconds, table, text, whole
from nas.log import Snapshot, decode, encode
from nas.ranking import dominates
from nas.summary import objectives, standing, state
from nas.trial_record import read, read_entry, read_extension, written, written_entry
from nas.versions import versions
from workers.objectives import Objective, Outcome
from workers.trial import Json

if TYPE_CHECKING:
    from nas.log import Header, Log

NAME = "standing"
FORMAT = 2  # of the content of a snapshot; to be raised whenever another meaning is given to it
ARMS = ("", "baseline")  # whose best are shown; "": everybody's
LATELY, STEP = 600.0, 10.0  # seconds: trials that ended so lately are counted in such steps
RISES = 200  # of the best so far that are kept

Mark: TypeAlias = tuple[int, float, str, int | None]  # an entry's sequence, time, kind and trial


@final
class Standing:
    """Folds entries as `History` does, but keeps only the trials that are open, shown, or may be shown yet.

    These are the best (with several objectives the Pareto front) of each arm, what was scored again, retrained and
    tested. So it takes as much memory as trials run at once, and can be written down and read again in milliseconds.
    `mark` is the last entry heard; `rises` is when the best of the search itself became better, by the trials that
    had ended and the first objective.
    """

    def __init__(self, goals: Sequence[Objective]) -> None:
        self.goals = tuple(goals)
        self.history = History()
        self.mark: Mark | None = None
        self._asked = 0  # of the search proper, as are:
        self._ended: Counter[str] = Counter()
        self._best: dict[str, list[TrialRecord]] = {arm: [] for arm in ARMS}
        self._lately: Counter[int] = Counter()  # by steps since 1970
        self.rises: list[tuple[int, float]] = []

    @property
    def ended(self) -> int:
        """How many trials of the search proper are over."""
        return self._ended.total()

    @property
    def best(self) -> TrialRecord | None:
        """The best full training of any arm by the first objective, the earliest of equals."""
        first = self.goals[:1]
        found = [(gains, -one.trial.id, one) for one in self._best[""] if (gains := one.gains(first)) is not None]
        return max(found)[2] if found else None

    def ended_since(self, time: float) -> int:
        """How many trials ended since then, which is at most `LATELY` ago; to the nearest `STEP`."""
        return sum(count for step, count in self._lately.items() if (step + 0.5) * STEP >= time)

    def feed(self, entry: Entry) -> None:
        """Take one more entry into account."""
        history, trial = self.history, entry.trial
        known = None if trial is None else history.trials.get(trial)
        was_open = known is not None and known.result is None
        history.feed(entry)
        self.mark = (entry.sequence, entry.time, entry.kind, trial)
        if entry.kind == "ask" and known is None and trial is not None:
            self._asked += history.trials[trial].arm not in BESIDE
        elif known is not None and was_open and known.result is not None:
            self._over(known)
        if entry.kind in ("artifact", "progress", "slots", "request", "applied", "driver"):
            self._shorten(known)

    def _over(self, record: TrialRecord) -> None:
        assert record.result is not None
        record.curve.clear()
        record.busy.clear()
        if record.arm not in BESIDE:
            self._ended[str(record.result.outcome)] += 1
            self._count(record)
            before = {one.trial.id for best in self._best.values() for one in best}
            self._admit(record)
            after = {one.trial.id for best in self._best.values() for one in best}
            for number in (before | {record.trial.id}) - after:
                del self.history.trials[number]
        elif record.arm == "proxy":
            del self.history.trials[record.trial.id]

    def _count(self, record: TrialRecord) -> None:
        """Take into account when it ended, and whether the search itself became better by it."""
        step = int((record.ended_at or 0.0) // STEP)
        if step not in self._lately:
            for old in [one for one in self._lately if one < step - LATELY / STEP]:
                del self._lately[old]
        self._lately[step] += 1
        if record.arm == "baseline" or not record.full or not self.goals or not record.gains(self.goals[:1]):
            return
        assert record.result is not None
        goal, value = self.goals[0], record.result.metrics[self.goals[0].metric]
        if math.isfinite(value) and (not self.rises or goal.gain(value) > goal.gain(self.rises[-1][1])):
            self.rises.append((self.ended, value))
            if len(self.rises) > RISES:
                self.rises = [*self.rises[:-1:2], self.rises[-1]]

    def _admit(self, record: TrialRecord) -> None:
        """Put it among the best of its arm and of all, where it is one, and those it is better than out."""
        if record.full and record.gains(self.goals) is not None and self.goals:
            for arm in ARMS:
                if arm in ("", record.arm):
                    self._best[arm] = self._improved(self._best[arm], record)

    def _improved(self, best: list[TrialRecord], new: TrialRecord) -> list[TrialRecord]:
        if not any(self._beats(one, new) for one in best):
            return [*(one for one in best if not self._beats(new, one)), new]
        return best

    def _beats(self, one: TrialRecord, other: TrialRecord) -> bool:
        """Whether the other need not be shown beside the one; of two that are equally good the earlier is the best."""
        here, there = one.gains(self.goals), other.gains(self.goals)
        assert here is not None
        assert there is not None
        if len(self.goals) == 1:
            return (here[0], -one.trial.id) > (there[0], -other.trial.id)
        return dominates(here, there)

    def _shorten(self, record: TrialRecord | None) -> None:
        """Forget what is shown nowhere."""
        history = self.history
        history.artifacts.clear()
        history.requests[:] = [one for one in history.requests if one.body["kind"] == "extend"]
        history.pending.clear()
        del history.slots[:-1], history.drivers[:-1]
        if record is not None:
            del record.curve[:-1]

    def record(self, header: Header) -> dict[str, Json]:
        """The search as `summary.standing` gives it from the whole history."""
        running = sum(one.running and one.arm not in BESIDE for one in self.history.trials.values())
        waiting = self._asked - running - self._ended.total()
        counted = {"asked": self._asked, "running": running, "waiting": waiting, **dict(sorted(self._ended.items()))}
        return standing(header, self.history, counted)

    def json(self) -> dict[str, Json]:
        """Everything, for a snapshot."""
        history = self.history
        return {
            "mark": list(self.mark or ()),
            "asked": self._asked,
            "ended": dict(self._ended),
            "worked": history.worked,
            "last_at": history.last_at,
            "state": [history.state, history.reason],
            "notes": [written_entry(entry) for entry in history.notes],
            "requests": [written_entry(entry) for entry in history.requests],
            "trials": [written(one) for one in history.trials.values()],
            "best": {arm: [one.trial.id for one in best] for arm, best in self._best.items()},
            "slots": [list(one) for one in history.slots[-1:]],
            "lately": [list(one) for one in self._lately.items()],
            "rises": [list(one) for one in self.rises],
        }

    @classmethod
    def from_json(cls, goals: Sequence[Objective], said: Json) -> Standing:
        """The one that `json` gave; ValueError, KeyError or TypeError where that says something else."""
        found = cls(goals)
        history, said = found.history, table(said)
        sequence, time, kind, trial = row(said["mark"], 4)
        found.mark = (whole(sequence, 1), seconds(time), text(kind), None if trial is None else whole(trial))
        found._asked = whole(said["asked"])
        found._ended = Counter({str(Outcome(name)): whole(count) for name, count in table(said["ended"]).items()})
        history.worked = seconds(said["worked"])
        history.last_at = None if said["last_at"] is None else seconds(said["last_at"])
        history.state, history.reason = map(text, row(said["state"], 2))
        history.notes = [read_entry(fields, "note") for fields in row(said["notes"])]
        history.requests = [read_extension(fields) for fields in row(said["requests"])]
        for fields in row(said["trials"]):
            record = read(fields)
            history.trials[record.trial.id] = record
            if record.running:
                history.running[record.trial.id] = record
        best = table(said["best"])
        found._best = {arm: [history.trials[whole(number)] for number in row(best[arm])] for arm in ARMS}
        history.slots = [(seconds(at), whole(total)) for at, total in row(said["slots"])]
        found._lately = Counter({whole(step): whole(count) for step, count in row(said["lately"])})
        found.rises = [(whole(ended), finite(value)) for ended, value in row(said["rises"])]
        found._check()
        return found

    def _check(self) -> None:
        """Raise `ValueError` where the counts and the best are not those of any journal."""
        open_ = sum(one.result is None and one.arm not in BESIDE for one in self.history.trials.values())
        if self._asked != open_ + self._ended.total():
            raise ValueError(f"of {self._asked} trials {self._ended.total()} ended and {open_} did not")
        for best in self._best.values():
            if any(not one.full or one.gains(self.goals) is None for one in best) or (best and not self.goals):
                raise ValueError("a trial is called one of the best, but has no score")


def snapshot(found: Standing) -> Snapshot:
    """A standing to be kept in a log."""
    assert found.mark is not None
    return Snapshot(NAME, found.mark[0], release(), encode(found.json()).encode())


def release() -> str:
    """Which code wrote a snapshot: another one's is not read."""
    return f"{versions().get('cellwright', '')}/{FORMAT}"


def current(log: Log, header: Header) -> Standing:
    """Where a search stands now: from the snapshot and the entries behind it, or from all of them.

    A snapshot that is damaged, says what no driver writes, is of another release or of another journal (its last entry
    is not there) is ignored.
    """
    goals = objectives(header.job)
    found = _kept(log, header.search, goals) or Standing(goals)
    update(found, log, header.search)
    return found


def update(found: Standing, log: Log, search: str) -> None:
    """Let it hear what was written since."""
    for entry in log.entries(search, after=found.mark[0] if found.mark else 0):
        found.feed(entry)


def abandoned(found: Standing, header: Header) -> Standing:
    """The same where nobody drives a search that says it runs: what ran waits to be issued again."""
    if (now := state(header)) == "abandoned":
        last = found.history.last_at or header.heartbeat
        found.feed(Entry(0, last, "state", None, {"state": now, "reason": header.reason}))
    return found


def _kept(log: Log, search: str, goals: Sequence[Objective]) -> Standing | None:
    kept = log.snapshot(search, NAME)
    if kept is None or kept.release != release():
        return None
    try:
        found = Standing.from_json(goals, decode(kept.content.decode()))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    last = next(iter(log.entries(search, after=max(1, kept.sequence) - 1)), None)
    there = None if last is None else (last.sequence, last.time, last.kind, last.trial)
    return found if there is not None and found.mark == there else None
