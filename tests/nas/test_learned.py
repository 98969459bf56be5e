"""What a strategy has learned, kept for the next driver: the same from a snapshot as from the history alone."""

from __future__ import annotations

import base64
import importlib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import xxhash
from controlling import UP, make, told
from hypothesis import given, settings
from hypothesis import strategies as st
from spoiling import spoiled
from stand_ins import FOLDER, GridSpace

from nas.driver import drive, resume, start
from nas.job import Job
from nas.journal import Journal
from nas.learned import NAME, PAUSE, Learned, recall
from nas.log import Log
from nas.logs.memory import MemoryLog
from nas.logs.sqlite import SqliteLog
from nas.provenance import provenance
from nas.strategies import reinforce
from nas.strategies.random import RandomSearch
from nas.strategies.reinforce import Reinforce
from nas.strategy import Draw, Setting
from nas.wrappers.deduplicate import Deduplicate
from parameter_server.files.snapshot import image_bytes, image_from
from search_spaces.space import Space
from workers.errors import UserError
from workers.objectives import Outcome
from workers.release import release
from workers.trial import Result, Trial

KINDS: list[dict[str, Any]] = [
    {"algorithm": "ppo"},
    {"algorithm": "reinforce", "replicas": 2},
    {"algorithm": "ppo", "replicas": 3},
    {"preset": "zoph2017", "reward": "rank"},
]


@pytest.fixture(autouse=True)
def _everything_is_worth_keeping(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reinforce, "WORTH", 1)


def lived(generator: Random, slots: int, steps: int, strategy: Reinforce, at: int) -> tuple[list[Trial | Result], Any]:
    """What a strategy asked and was told by so many workers, and its snapshot `at` a step."""
    running, events, kept = list[Trial](), list[Trial | Result](), None
    for step in range(steps):
        if len(running) < slots and (not running or generator.random() < 0.6):
            trial = strategy.ask()
            assert trial is not None
            running.append(trial)
            events.append(trial)
        else:
            trial = running.pop(generator.randrange(len(running)))
            outcome = generator.choices([Outcome.COMPLETED, Outcome.FAILED, Outcome.INFEASIBLE], [8, 1, 1])[0]
            events.append(told(trial, outcome=outcome))
            strategy.tell(events[-1])  # type: ignore[arg-type]
        if step == at:
            kept = strategy.snapshot()
    return events, kept


def hear(strategy: Reinforce, events: list[Trial | Result]) -> Reinforce:
    """Let a strategy hear the same as another, by way of a journal."""
    for event in events:
        said = json.loads(json.dumps(event.json()))
        if isinstance(event, Trial):
            strategy.hear(Trial.from_json(said))
        else:
            strategy.tell(Result.from_json(said))
    return strategy


def goes_on(strategy: Reinforce, trials: int = 12) -> list[Trial | Result]:
    return lived(Random(0), 3, 2 * trials, strategy, -1)[0]


@given(st.randoms(use_true_random=False), st.integers(1, 9), st.integers(0, 39), st.sampled_from(KINDS))
@settings(max_examples=12)
def test_what_was_kept_and_what_came_behind_it_are_the_whole_history(
    generator: Random, slots: int, at: int, options: dict[str, Any]
) -> None:
    events, kept = lived(generator, slots, 40, make(**options), at)
    without, recalled = hear(make(**options), events), hear(make(**options), events)
    assert recalled.recall(kept) if kept is not None else not recalled.recall(b"")
    assert goes_on(recalled) == goes_on(without)
    ours, theirs = (one._members[0].store.pull() for one in (recalled, without))
    assert ours.version == theirs.version
    for name, value in ours.tensors.items():
        np.testing.assert_array_equal(value, theirs.tensors[name])


def reshaped(base: Any, length: int) -> Any:
    return base | {"tensors": [[name, dtype, [length], text] for name, dtype, _, text in base["tensors"]]}


@cache
def short() -> tuple[list[Trial | Result], bytes]:
    events, kept = lived(Random(1), 3, 60, make(), 59)
    assert kept is not None
    return events, kept


@pytest.mark.parametrize(
    "spoil",
    [
        lambda said: said | {"mark": said["mark"][::-1]},
        lambda said: said | {"turns": said["turns"] - 1},
        lambda said: said | {"turns": 10**9},
        lambda said: said | {"turns": None},
        lambda said: said | {"driver": 1},
        lambda said: said | {"image": said["image"][:-8]},
        lambda said: said | {"image": "AAAA"},
        lambda said: said | {"image": said["image"].replace("A", "B", 400)},
        lambda said: said | {"bases": [[0, 0, 99]]},
        lambda said: said | {"bases": [[0, 10**6, 0]]},
        lambda said: said | {"baselines": []},
        lambda said: said | {"baselines": [None]},
        lambda said: said | {"baselines": [float("nan")]},
        lambda said: said | {"baselines": ["high"]},
        lambda said: said | {"driver": 10**400},
        lambda said: said | {"parameters": [base | {"version": [10**6]} for base in said["parameters"]]},
        lambda said: said | {"parameters": [base | {"version": []} for base in said["parameters"]]},
        lambda said: said | {"parameters": [base | {"tensors": base["tensors"][1:]} for base in said["parameters"]]},
        lambda said: said | {"parameters": [reshaped(base, 10**400) for base in said["parameters"]]},
        lambda said: said | {"parameters": [reshaped(base, -1) for base in said["parameters"]]},
        lambda said: {},
        lambda said: [],
    ],
)
def test_what_does_not_fit_is_learned_again(spoil: Callable[[Any], Any]) -> None:
    events, kept = short()
    strategy = hear(make(), events)
    assert not strategy.recall(json.dumps(spoil(json.loads(kept))).encode())
    assert goes_on(strategy) == goes_on(hear(make(), events))


@given(st.data())
@settings(max_examples=15)
def test_whatever_was_kept_the_search_goes_on(data: st.DataObject) -> None:
    """Of the right history; nothing of it is left where it is not believed."""
    events, kept = short()
    said = data.draw(spoiled(json.loads(kept)))
    strategy = hear(make(), events)
    if not strategy.recall(json.dumps(said).encode()):
        assert goes_on(strategy, 4) == goes_on(hear(make(), events), 4)
    else:
        goes_on(strategy, 4)


def imaged(kept: bytes, change: Callable[[Any], bytes]) -> bytes:
    """What was kept with another image of the store, whose digest fits."""
    said = json.loads(kept)
    image = base64.b64decode(said["image"])
    return json.dumps(said | {"image": base64.b64encode(sealed(change(image))).decode()}).encode()


def sealed(image: bytes) -> bytes:
    return image[:-16] + xxhash.xxh3_128_digest(image[:-16])


@given(st.data())
@settings(max_examples=15)
def test_whatever_bytes_the_parameters_are_the_search_goes_on(data: st.DataObject) -> None:
    events, kept = short()

    def change(image: bytes) -> bytes:
        changed = bytearray(image)
        for _ in range(data.draw(st.integers(1, 8))):
            changed[data.draw(st.integers(0, len(image) - 17))] = data.draw(st.sampled_from([0, 1, 127, 128, 255]))
        return bytes(changed)

    strategy = hear(make(), events)
    if not strategy.recall(imaged(kept, change)):
        assert goes_on(strategy, 4) == goes_on(hear(make(), events), 4)
    else:
        goes_on(strategy, 4)


def header(of: Callable[[Any], Any]) -> Callable[[bytes], bytes]:
    """Another header of an image."""

    def change(image: bytes) -> bytes:
        length = int.from_bytes(image[8:16], "little")
        text = json.dumps(of(json.loads(image[16 : 16 + length]))).encode()
        start = 16 + length + -(16 + length) % 64
        return image[:8] + len(text).to_bytes(8, "little") + text + bytes(-(16 + len(text)) % 64) + image[start:]

    return change


def arrays(of: Callable[[Any, Any], None]) -> Callable[[bytes], bytes]:
    """Other numbers or another book in an image."""

    def change(image: bytes) -> bytes:
        found = image_from(np.frombuffer(image, np.uint8), "kept")
        book = found.read_book()
        buffers = tuple(tuple(np.array(one) for one in of) for of in found.buffers)
        of(book, next(one for one in buffers if one[0].size))
        return image_bytes(replace(found, book=book.buffer, buffers=buffers))

    return change


def numbers(place: int, value: float) -> Callable[[bytes], bytes]:
    return arrays(lambda book, buffers: buffers[place].__setitem__(3, value))


def book(part: str, name: str, value: int) -> Callable[[bytes], bytes]:
    return arrays(lambda book, buffers: getattr(book, part)[name].__setitem__(0, value))


@pytest.mark.parametrize(
    "change",
    [
        *(numbers(0, value) for value in (float("nan"), float("inf"), 1e30, -100.0)),
        *(numbers(1, value) for value in (float("nan"), 1e30)),
        *(numbers(2, value) for value in (float("nan"), float("inf"), -1e-9)),
        *(book("header", name, 2**31) for name in ("version", "clients", "capacity")),
        *(book("clients", name, 2**40) for name in ("highest", "attempt")),
        book("clients", "ledger", 1),
        book("pieces", "ledger", 1),
        arrays(lambda book, buffers: book.clients["name"].__setitem__(0, b"replica-0.7")),
        arrays(lambda book, buffers: book.pieces["steps"].__setitem__(slice(None), 2**63)),
        header(lambda said: said | {"buffers": [10**12] * len(said["buffers"])}),
        header(lambda said: said | {"buffers": [1] * len(said["buffers"])}),
        header(lambda said: said | {"buffers": "many"}),
        header(lambda said: said | {"book": 10**12}),
        header(lambda said: said | {"pieces": [piece | {"dtype": "float16"} for piece in said["pieces"]]}),
        header(lambda said: said | {"pieces": [piece | {"shape": [3, 5]} for piece in said["pieces"]]}),
        header(lambda said: said | {"pieces": [piece | {"stop": -(10**9)} for piece in said["pieces"]]}),
        header(lambda said: {}),
        header(lambda said: []),
        lambda image: image[:16] + b"\xff" * (len(image) - 16),
    ],
)
def test_parameters_that_no_lesson_makes_are_learned_again(change: Callable[[bytes], bytes]) -> None:
    events, kept = short()
    strategy = hear(make(), events)
    assert not strategy.recall(imaged(kept, change))
    assert strategy._shared is None
    assert goes_on(strategy, 4) == goes_on(hear(make(), events), 4)


@pytest.mark.parametrize("options", [{"seed": 2}, {"learning_rate": 0.01}, {"replicas": 2}, {"hidden": 7}])
def test_other_settings_have_learned_something_else(options: dict[str, Any]) -> None:
    events, kept = short()
    assert hear(make(), events).recall(kept)
    assert not hear(make(**options), events).recall(kept)


def test_another_history_has_taught_something_else() -> None:
    events, kept = short()
    assert not hear(make(), events[:30]).recall(kept)  # a journal that was cut
    place = next(number for number, event in enumerate(events) if isinstance(event, Result) and event.metrics)
    event = events[place]
    assert isinstance(event, Result)
    changed = [*events[:place], replace(event, metrics={"score": 7.0}), *events[place + 1 :]]
    assert not hear(make(), changed).recall(kept)


def test_who_has_asked_already_recalls_nothing() -> None:
    events, kept = short()
    strategy = hear(make(), events)
    strategy.propose(Draw(0, 10**6))
    assert not strategy.recall(kept)


def test_little_is_not_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert lived(Random(1), 3, 60, make(), 59)[1] is None


def test_too_many_open_batches_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reinforce, "LARGEST", 100)
    assert lived(Random(1), 3, 60, make(algorithm="reinforce"), 59)[1] is None


def written(log: Log, events: list[Trial | Result]) -> Journal:
    log.create("long", {}, {})
    journal = Journal(log, "long", log.acquire("long"), pulse=None)
    for event in events:
        if isinstance(event, Trial):
            journal.write("ask", event.id, event.json())
            journal.write("attempt", event.id, {"number": 1})
        else:
            journal.write("tell", event.trial_id, event.json())
    journal.commit()
    return journal


@pytest.mark.parametrize("make_log", [MemoryLog, SqliteLog])
def test_the_next_driver_learns_only_what_is_new(
    make_log: type[MemoryLog] | type[SqliteLog], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = SqliteLog(tmp_path) if make_log is SqliteLog else MemoryLog()
    now, first = [0.0], make()
    events, _ = lived(Random(1), 3, 60, first, -1)
    journal = written(log, events)
    learned = Learned(journal, Deduplicate(first), lambda: now[0])
    learned.turn()
    assert log.snapshot("long", NAME) is None
    now[0] = PAUSE
    learned.turn()
    assert log.snapshot("long", NAME) is not None
    second = make()
    journal = Journal(log, "long", log.acquire("long", force=True), pulse=None)
    journal.replay(Deduplicate(second))
    monkeypatch.setattr(Reinforce, "_created", lambda self: pytest.fail("it began from nothing"))
    trial = second.ask()
    monkeypatch.undo()
    assert trial == hear(make(), events).ask()
    log.close()


def test_a_search_that_goes_on_begins_with_what_was_learned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job: dict[str, Any] = {
        "name": "try",
        "task": "stand_ins:SumTask",
        "space": "stand_ins:GridSpace",
        "strategy": {"name": "reinforce", "batch": 3, "hidden": 4, "epochs": 1},
        "pool": "stand_ins:Instant",
        "budget": {"trials": 12},
        "final": {"top": 0},
        "folder": FOLDER,
    }
    log = SqliteLog(tmp_path)
    search = start(Job.parse(job), log)
    assert drive(search, log).state == "finished"
    first = log.snapshot(search, NAME)
    assert first is not None
    monkeypatch.setattr(Reinforce, "_created", lambda self: pytest.fail("it began from nothing"))
    assert resume(search, log, {"budget": {"trials": 20}}).state == "finished"
    last = log.snapshot(search, NAME)
    assert last is not None
    assert json.loads(last.content)["turns"] > json.loads(first.content)["turns"]
    log.close()


def test_another_release_is_not_believed() -> None:
    log, first = MemoryLog(), make()
    events, _ = lived(Random(1), 3, 60, first, -1)
    journal = written(log, events)
    Learned(journal, first).end()
    kept = log.snapshot("long", NAME)
    assert kept is not None
    assert recall(journal, hear(make(), events))
    log.keep("long", 1, replace(kept, release="0.0.1/1"))
    assert not recall(journal, hear(make(), events))


OWN = """
from beside_it import FIRST
from nas.strategies.random import RandomSearch
from nas.strategy import Strategy
from stand_ins import GridSpace

class Own(Strategy):
    heard = []
    asked = told = lambda self, news: None
    propose = RandomSearch.propose

    def snapshot(self):
        return FIRST

    def recall(self, content):
        Own.heard.append(content)
        return True

class OwnSpace(GridSpace.__mro__[1]):
    decisions = GridSpace(3).decisions
    blueprint = None
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A module of a user's own, which imports another beside it."""
    (tmp_path / "own_one.py").write_text(OWN)
    (tmp_path / "beside_it.py").write_text("FIRST = b'first'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("own_one")
    for name in ("own_one", "beside_it"):
        sys.modules.pop(name, None)


def setting(space: Space | None = None) -> Setting:
    return Setting(GridSpace(3).decisions, (UP,), space)


@pytest.mark.parametrize("name", ["own_one.py", "beside_it.py", None])
def test_a_strategy_of_ones_own_goes_on_unless_its_code_has_changed(
    name: str | None, own: ModuleType, tmp_path: Path
) -> None:
    journal = written(MemoryLog(), [])
    Learned(journal, Deduplicate(own.Own(setting()))).end()
    if name is not None:
        (tmp_path / name).write_text((tmp_path / name).read_text() + "# changed\n")
    assert recall(journal, Deduplicate(own.Own(setting()))) == (name is None)
    assert own.Own.heard == ([b"first"] if name is None else [])


def test_code_that_is_changed_under_a_driver_did_not_work_out_what_that_keeps(own: ModuleType, tmp_path: Path) -> None:
    journal = written(MemoryLog(), [])
    learned = Learned(journal, own.Own(setting()))
    (tmp_path / "own_one.py").write_text(OWN + "# changed\n")
    learned.end()
    assert not recall(journal, own.Own(setting()))


def test_a_space_of_ones_own_is_named_and_ours_is_not(own: ModuleType, tmp_path: Path) -> None:
    ours = provenance(Deduplicate(RandomSearch(setting())))
    assert ours == release()
    before = provenance(RandomSearch(setting(own.OwnSpace())))
    assert before != ours
    assert before == provenance(RandomSearch(setting(own.OwnSpace())))
    (tmp_path / "own_one.py").write_text(OWN + "# changed\n")
    assert provenance(RandomSearch(setting(own.OwnSpace()))) != before


def test_a_package_of_ones_own_is_named_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in {"__init__": "", "strategies/__init__": "", "strategies/one": OWN, "models/deep": ""}.items():
        (tmp_path / "own_package" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "own_package" / f"{name}.py").write_text(text.replace("from beside_it import FIRST", "FIRST = b''"))
    monkeypatch.syspath_prepend(str(tmp_path))
    one = importlib.import_module("own_package.strategies.one").Own(setting())
    before = provenance(one)
    (tmp_path / "beside.py").write_text("")
    assert provenance(one) == before
    (tmp_path / "own_package" / "models" / "deep.py").write_text("LAYERS = 7\n")
    assert provenance(one) != before


def test_code_without_source_is_never_the_same_twice(own: ModuleType) -> None:
    own.Own.__module__ = "typed_at_a_prompt"
    one = own.Own(setting())
    assert provenance(one) != provenance(one)


def test_a_strategy_that_fails_at_what_it_kept_begins_anew(own: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> bool:
        raise RuntimeError("half of it is gone")

    log = MemoryLog()
    journal = written(log, [])
    Learned(journal, own.Own(setting())).end()
    monkeypatch.setattr(own.Own, "recall", fail)
    with pytest.raises(UserError, match=r"Own cannot go on from what it had kept \(Runtime.*nas resume long"):
        journal.replay(Deduplicate(own.Own(setting())))
    Journal(log, "long", log.acquire("long", force=True), pulse=None).replay(Deduplicate(own.Own(setting())))


@pytest.mark.parametrize("content", ["a text", 7, None])
def test_a_strategy_that_cannot_say_what_it_learned_is_no_reason_to_stop(
    content: Any, own: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def say(*_: object) -> Any:
        if content is None:
            raise RuntimeError("out of words")
        return content

    log = MemoryLog()
    journal = written(log, [])
    monkeypatch.setattr(own.Own, "snapshot", say)
    learned = Learned(journal, own.Own(setting()))
    learned.end()
    learned.end()
    assert log.snapshot("long", NAME) is None
    (note,) = journal.history.notes
    assert str(note.body["text"]).startswith("Own cannot say what it has learned")


def test_a_search_goes_on_where_nothing_can_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise UserError("the disk is full")

    log, first = MemoryLog(), make()
    events, _ = lived(Random(1), 3, 60, first, -1)
    learned = Learned(written(log, events), first)
    monkeypatch.setattr(log, "keep", full)
    learned.end()
    learned.end()
