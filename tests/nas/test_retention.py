"""What is kept: everything that something refers to, and under a quota what can be spared least."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from nas.history import Entry, History
from nas.retention import PORTION, SWEEP, Needed, Retention, needed, superfluous
from search_spaces.decisions import Candidate
from workers.artifacts import Artifacts, Stored
from workers.objectives import Direction, Objective, Outcome
from workers.spoken import OUTPUT
from workers.trial import Json, Result, Trial
from workers.underway import UNDERWAY

GOOD = Objective("good", Direction.MAXIMIZE)
COST = Objective("cost", Direction.MINIMIZE)


def entry(kind: str, trial: int, body: dict[str, Json]) -> Entry:
    return Entry(trial, float(trial), kind, trial, body)


def history_of(*trials: tuple[Trial, dict[str, float] | None]) -> History:
    """Trials with their metrics; None still runs."""
    history = History()
    for trial, metrics in trials:
        history.feed(entry("ask", trial.id, trial.json()))
        history.feed(entry("attempt", trial.id, {"number": 1}))
        if metrics is not None:
            result = Result(trial.id, 1, Outcome.COMPLETED, metrics, checkpoint="c")
            history.feed(entry("tell", trial.id, result.json()))
    return history


def trial(number: int, epochs: int = 4, parent: int | None = None, arm: str | None = None) -> Trial:
    note = {"arm": arm} if arm else {}
    return Trial(number, Candidate({"x": number}), epochs, 4, parent, note)


def stored(*trials: int, size: int = 100) -> list[Stored]:
    return [Stored(one, 1, "c", size) for one in trials]


SEARCH = history_of(
    (trial(0), {"good": 1.0, "cost": 1.0}),
    (trial(1), {"good": 9.0, "cost": 9.0}),
    (trial(2), {"good": 5.0, "cost": 5.0}),
    (trial(3), {"good": 4.0, "cost": 6.0}),
    (trial(4, epochs=2), {"good": 0.0, "cost": 10.0}),
    (trial(5, parent=3), None),
    (trial(6, arm="final"), {"good": 0.0, "cost": 10.0}),
    (trial(7, epochs=0, parent=6, arm="test"), {"good": 0.0}),
)


def test_what_something_refers_to_is_needed() -> None:
    need = needed(SEARCH, [GOOD], top=1)
    assert need.firm == {3, 5, 6, 7}, "a running trial, its parent, the retrained and the tested"
    assert list(need.soft) == [1, 4], "the best, and one that can be trained further"
    assert list(needed(SEARCH, [GOOD, COST], top=9).soft)[:3] == [1, 2, 0], "the Pareto front before all others"


def test_what_nothing_refers_to_may_go() -> None:
    need = needed(SEARCH, [GOOD], top=1)
    assert superfluous(stored(*range(8), 99), SEARCH, need) == stored(0, 2, 99)


def test_the_tracebacks_of_the_last_failures_stay_while_there_is_room() -> None:
    history = history_of((trial(0), {"good": 1.0}))
    for number in range(1, 5):
        history.feed(entry("ask", number, trial(number).json()))
        history.feed(entry("attempt", number, {"number": 1}))
        history.feed(entry("tell", number, Result(number, 1, Outcome.FAILED, error="no").json()))
    need = needed(history, [GOOD], top=2)
    files = [Stored(0, 1, "c", 100), *(Stored(number, 1, "traceback.txt", 1) for number in range(1, 5))]
    assert superfluous(files, history, need) == files[1:3]
    assert {one.trial for one in superfluous(files, history, need, quota=100)} == {1, 2, 3, 4}


def test_what_trials_printed_stays_of_lost_attempts_too_and_goes_first_over_a_quota() -> None:
    files = [*stored(4), *(Stored(number, number % 2, OUTPUT, 1) for number in (0, 1, 4))]
    need = needed(SEARCH, [GOOD], top=1)
    assert superfluous(files, SEARCH, need) == []
    over = superfluous(files, SEARCH, need, quota=sum(file.bytes for file in files) - 2)
    assert len(over) == 2
    assert all(one.name == OUTPUT for one in over)


def test_a_lost_attempts_files_may_go_and_a_running_ones_stay() -> None:
    late = [Stored(1, 2, "c", 1), Stored(1, 1, "c", 1), Stored(5, 1, "c", 1), Stored(5, 2, "c", 1)]
    assert superfluous(late, SEARCH, needed(SEARCH, [GOOD], 9)) == [Stored(1, 2, "c", 1)]
    history = history_of((trial(0), None))
    history.feed(entry("attempt", 0, {"number": 2}))
    history.feed(entry("tell", 0, Result(0, 2, Outcome.COMPLETED, {"good": 1.0}, checkpoint="c").json()))
    both = [Stored(0, 1, "c", 1), Stored(0, 2, "c", 1)]
    assert superfluous(both, history, needed(history, [GOOD])) == both[:1]


def test_what_was_kept_under_way_stays_until_its_trial_is_over() -> None:
    history, files = history_of((trial(0), None)), [Stored(0, number, UNDERWAY, 100) for number in (1, 2)]
    history.feed(entry("attempt", 0, {"number": 2}))
    history.feed(entry("tell", 0, Result(0, 2, Outcome.LOST).json()))
    assert superfluous(files, history, needed(history, [GOOD]), quota=1) == []
    history.feed(entry("attempt", 0, {"number": 3}))
    history.feed(entry("tell", 0, Result(0, 3, Outcome.COMPLETED, {"good": 1.0}, checkpoint="c").json()))
    left = [*files, Stored(0, 3, UNDERWAY, 100), Stored(0, 3, "c", 100)]
    assert superfluous(left, history, needed(history, [GOOD])) == left[:3]


def test_over_the_quota_the_least_needed_go_first_and_the_firm_stay() -> None:
    need = needed(SEARCH, [GOOD], top=2)
    assert list(need.soft) == [1, 2, 4]
    files = stored(*range(8))
    free = superfluous(files, SEARCH, need)
    assert superfluous(files, SEARCH, need, quota=700) == free
    assert superfluous(files, SEARCH, need, quota=650) == free + stored(4)
    assert superfluous(files, SEARCH, need, quota=500) == free + stored(4, 2)
    assert superfluous(files, SEARCH, need, quota=1) == free + stored(4, 2, 1)


@settings(max_examples=50)
@given(st.lists(st.integers(1, 50), min_size=8, max_size=8), st.integers(0, 400))
def test_a_quota_is_kept_unless_only_firm_files_are_left(sizes: list[int], quota: int) -> None:
    files = [Stored(one, 1, "c", size) for one, size in enumerate(sizes)]
    need = needed(SEARCH, [GOOD], top=3)
    gone = superfluous(files, SEARCH, need, quota)
    left = [file for file in files if file not in gone]
    assert all(file in left for file in files if file.trial in need.firm)
    assert sum(file.bytes for file in left) <= quota or all(file.trial in need.firm for file in left)


class Notes:
    """A journal that remembers what is written."""

    search = "try"

    def __init__(self) -> None:
        self.written: list[tuple[str, int | None]] = []
        self.notes: list[str] = []

    def write(self, kind: str, trial: int | None, body: dict[str, Json], urgent: bool = True) -> None:
        self.written.append((kind, trial))

    def note(self, text: str) -> None:
        self.notes.append(text)


def many(count: int) -> History:
    return history_of(*((trial(number), {"good": float(number)}) for number in range(count)))


def test_files_go_in_small_portions_while_the_search_runs(tmp_path: Path) -> None:
    artifacts, notes = Artifacts.open(str(tmp_path)), Notes()
    history = many(40)
    for number in range(40):
        artifacts.put("try", number, 1, "c", b"x")
    retention = Retention(artifacts, notes, [GOOD])  # type: ignore[arg-type]
    left = []
    for _ in range(6):
        retention.turn(history)
        left.append(len(artifacts.list("try")))
    assert left == [40, 40 - PORTION, 40 - 2 * PORTION, 40 - 3 * PORTION, 10, 10]
    assert [file.trial for file in artifacts.list("try")] == list(range(30, 40))
    assert notes.written == [("artifact", number) for number in range(30)]


def test_one_looks_rarely_while_little_happens(tmp_path: Path) -> None:
    retention = Retention(Artifacts.open(str(tmp_path)), Notes(), [GOOD])  # type: ignore[arg-type]
    looks = 0
    for count in range(300):
        before = retention._look_at
        if count % 10 == 0:
            retention.turn(many(count))
        looks += retention._look_at != before
    assert looks <= 300 / SWEEP


def test_the_end_removes_all_the_rest(tmp_path: Path) -> None:
    artifacts, notes = Artifacts.open(str(tmp_path)), Notes()
    for number in range(30):
        artifacts.put("try", number, 1, "c", b"x")
    Retention(artifacts, notes, [GOOD]).finish(many(30))  # type: ignore[arg-type]
    assert len(artifacts.list("try")) == 10


class Stuck(Artifacts):
    """A store from which nothing can be removed."""

    tried = 0

    @property
    def place(self) -> str:
        return "nowhere"

    def _write(self, key: str, data: bytes) -> None:
        raise NotImplementedError

    def _read(self, key: str) -> bytes:
        raise NotImplementedError

    def _remove(self, key: str) -> None:
        self.tried += 1
        raise PermissionError("not yours")

    def _walk(self, folder: str) -> Iterator[tuple[str, int]]:
        yield from ((f"try/{number}/1/c", 1) for number in range(30))


def test_a_store_that_fails_costs_a_note_and_no_search() -> None:
    artifacts, notes = Stuck(), Notes()
    retention = Retention(artifacts, notes, [GOOD])  # type: ignore[arg-type]
    for _ in range(3):
        retention.turn(many(30))
    retention.finish(many(30))
    assert artifacts.tried == 1
    assert notes.notes == ["files that nobody needs stay where they are: not yours"]


def test_nothing_needed_is_nothing_kept() -> None:
    assert superfluous(stored(0), SEARCH, Needed()) == stored(0)
