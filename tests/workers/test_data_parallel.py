"""Training with several workers: what comes out, that every batch counts once, and what is refused."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from random import Random
from threading import Barrier, Event
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from plain_space import PlainSpace
from threads_crew import Death, Threads
from torch import Tensor, nn

from parameter_server.memory_store import MemoryStore
from search_spaces.decisions import Candidate
from workers.batches import Batches
from workers.data_parallel.dealer import Deal, Dealer
from workers.data_parallel.journal import Journal
from workers.data_parallel.network import batches_of
from workers.data_parallel.parallel_training import ParallelTraining
from workers.data_parallel.session import Session
from workers.data_parallel.tally import Tally
from workers.errors import DamagedError, DivergedError, UserError
from workers.optimization import rate_factor
from workers.plugins import Spec
from workers.setup import Setup
from workers.task import State
from workers.tasks.image_classification import ImageClassification
from workers.trial import Trial

RECIPE: Mapping[str, Any] = {
    "dataset": "digits", "device": "cpu", "batch_size": 120, "learning_rate": 0.1, "weight_decay": 1e-3,
    "gradient_clipping": 0.0,
}  # fmt: skip


class Case:
    """A training of digits by threads, its journal in `folder`."""

    def __init__(self, folder: Path, mode: Any = "async", workers: int = 3, **options: Any) -> None:
        own = {name: options.pop(name) for name in ("backup", "staleness") if name in options}
        norm, epochs = options.pop("norm", False), options.pop("epochs", 2)
        task = Spec("image_classification", {**RECIPE, **options})
        setup = Setup("test", task, Spec("plain_space:PlainSpace", {"norm": norm}))
        trial = Trial(0, Candidate({"filters": 8}), epochs, epochs, seed=5)
        self.training = ParallelTraining(setup, trial, workers, mode, **own)
        self.space, self.task = PlainSpace(norm), ImageClassification(**task.options)
        self.folder = folder
        self.store = MemoryStore(self.training.policy(self.task))

    def batches(self) -> Batches:
        return batches_of(self.training, self.space, self.task)

    def run(self, **crew: Any) -> tuple[State, Tally]:
        self.folder.mkdir(exist_ok=True)
        with (
            closing(Journal(self.folder / "journal")) as journal,
            closing(Threads(self.store, self.batches, **crew)) as threads,
        ):
            session = Session(self.training, self.batches(), self.store, journal)
            return session.run(threads, lambda tally: None)


def alone(case: Case) -> dict[str, Tensor]:
    """The weights after the steps of one process, computed with torch: each on the batch of all workers."""
    training = replace(case.training, workers=1)
    batches = batches_of(training, case.space, case.task)
    recipe, model = batches.recipe, batches.model
    optimizer = torch.optim.SGD(
        model.parameters(), recipe.learning_rate, momentum=recipe.momentum if recipe.optimizer == "momentum" else 0.0,
        nesterov=recipe.optimizer == "momentum", weight_decay=recipe.weight_decay,
    )  # fmt: skip
    for number in range(batches.count):
        batches.learn(number)
        optimizer.param_groups[0]["lr"] = recipe.learning_rate * rate_factor(recipe, batches.place(number))
        optimizer.step()
    return {f"model/{name}": value.detach() for name, value in model.state_dict().items()}


@pytest.mark.parametrize(
    "recipe",
    [{"optimizer": "momentum", "schedule": "constant"}, {"optimizer": "sgd"}],
    ids=["momentum", "sgd with a schedule"],
)
def test_synchronous_workers_do_what_one_process_does_on_the_whole_batch(
    recipe: Mapping[str, Any], tmp_path: Path
) -> None:
    case = Case(tmp_path, "sync", 4, **recipe)
    state, tally = case.run()
    right = alone(case)
    for name, tensor in state.tensors.items():
        torch.testing.assert_close(tensor, right[name], rtol=1e-4, atol=1e-6)
    assert tally.staleness == {0: tally.count}


def together(parties: int) -> Callable[[int, int, Deal], None]:
    """All are there before the first batch is learned; then who is first is drawn anew for every batch."""
    barrier, sleep = Barrier(parties), jitter(0)

    def meet(slot: int, attempt: int, deal: Deal) -> None:
        if deal.number == 0:
            barrier.wait(60)
        sleep(slot, attempt, deal)

    return meet


def jitter(seed: int) -> Callable[[int, int, Deal], None]:
    """Who is first is drawn anew for every batch."""

    def sleep(slot: int, attempt: int, deal: Deal) -> None:
        time.sleep(Random(f"{seed}/{slot}/{deal.batch}").random() * 0.01)

    return sleep


def test_who_of_the_synchronous_workers_is_first_does_not_matter(tmp_path: Path) -> None:
    first, _ = Case(tmp_path / "one", "sync", norm=True, epochs=1).run(before=jitter(0))
    second, _ = Case(tmp_path / "two", "sync", norm=True, epochs=1).run(before=jitter(1))
    assert all(torch.equal(tensor, second.tensors[name]) for name, tensor in first.tensors.items())


@pytest.mark.parametrize("mode", ["async", "bounded"])
def test_every_gradient_is_a_step_where_nobody_waits_for_all(mode: str, tmp_path: Path) -> None:
    case = Case(tmp_path, mode, 3, staleness=1) if mode == "bounded" else Case(tmp_path, mode, 3)
    _, tally = case.run(before=together(3))
    assert case.store.pull().version == (tally.count,)
    assert sorted(tally.learned) == list(range(tally.count))
    assert sum(tally.staleness.values()) == tally.count
    assert {learned.slot for learned in tally.learned.values()} == {0, 1, 2}


def test_batches_that_come_too_late_for_a_round_are_learned_again(tmp_path: Path) -> None:
    case = Case(tmp_path, "sync", 2, backup=1)
    _, tally = case.run(before=together(3))
    assert sorted(tally.learned) == list(range(tally.count))
    assert tally.repeated > 0
    assert sum(learned.tries for learned in tally.learned.values()) > tally.count


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("mode", ["async", "bounded", "sync"])
def test_every_batch_counts_once_when_workers_die(mode: str, when: str, tmp_path: Path) -> None:
    """`after`: the push was counted, and nobody heard of it."""
    deaths: set[tuple[int, int]] = set()

    def die(slot: int, attempt: int, deal: Deal) -> None:
        if deal.number in (2, 5) and (slot, deal.number) not in deaths:
            deaths.add((slot, deal.number))
            raise Death("SIGKILL")

    case = Case(tmp_path, mode)
    state, tally = case.run(**{when: die})
    assert sorted(tally.learned) == list(range(tally.count))
    assert tally.replaced == len(deaths) >= 3
    steps = tally.count // 3 if mode == "sync" else tally.count
    assert case.store.pull().version == (steps,)
    if mode == "sync":
        undisturbed, _ = Case(tmp_path / "again", mode).run()
        assert all(torch.equal(one, undisturbed.tensors[name]) for name, one in state.tensors.items())


class BlackoutError(Exception):
    """The coordinator is gone."""


def test_a_training_goes_on_after_its_coordinator_was_killed(tmp_path: Path) -> None:
    case = Case(tmp_path, "async")
    for stop in (4, 9):
        with pytest.raises(BlackoutError):
            _until(case, stop)
    _, tally = case.run()
    assert sorted(tally.learned) == list(range(tally.count))
    assert case.store.pull().version == (tally.count,)


def _until(case: Case, stop: int) -> None:
    """Run until so many batches count, then let the coordinator die, between hearing and writing."""
    case.folder.mkdir(exist_ok=True)

    def watch(tally: Tally) -> None:
        if len(tally.learned) >= stop:
            raise BlackoutError

    with (
        closing(Journal(case.folder / "journal")) as journal,
        closing(Threads(case.store, case.batches)) as threads,
    ):
        Session(case.training, case.batches(), case.store, journal).run(threads, watch)


def test_a_worker_that_comes_late_takes_part(tmp_path: Path) -> None:
    some, came = Event(), Event()

    def before(slot: int, attempt: int, deal: Deal) -> None:
        if slot == 2:
            came.set()
        elif deal.batch > 10:
            came.wait(60)

    def after(slot: int, attempt: int, deal: Deal) -> None:
        if deal.batch > 3:
            some.set()

    case = Case(tmp_path, "async")
    _, tally = case.run(before=before, after=after, late=lambda slot: some.wait(60) if slot == 2 else None)
    assert min(batch for batch, learned in tally.learned.items() if learned.slot == 2) > 3
    assert {learned.slot for learned in tally.learned.values()} == {0, 1, 2}
    assert sorted(tally.learned) == list(range(tally.count))


def test_a_worker_that_only_dies_ends_the_training_with_a_reason(tmp_path: Path) -> None:
    def die(slot: int, attempt: int, deal: Deal) -> None:
        if slot == 1:
            raise Death("SIGKILL: out of memory")

    with pytest.raises(UserError, match=r"worker 1 died 3 times .*out of memory.*same command"):
        Case(tmp_path).run(before=die)


def test_a_training_that_diverges_says_so(tmp_path: Path) -> None:
    with pytest.raises((DivergedError, UserError), match=r"lower learning rate|not finite"):
        Case(tmp_path, learning_rate=1e3, optimizer="sgd", epochs=4).run()


def test_the_statistics_of_batch_norm_are_those_of_the_final_weights(tmp_path: Path) -> None:
    case = Case(tmp_path, norm=True)
    state, _ = case.run()
    batches = case.batches()
    batches.model.load_state_dict({name.removeprefix("model/"): tensor for name, tensor in state.tensors.items()})
    batches.settle()
    norm = batches.model.norm
    assert isinstance(norm, nn.BatchNorm2d)
    assert isinstance(norm.running_mean, Tensor)
    assert torch.equal(norm.running_mean, state.tensors["model/norm.running_mean"])
    assert float(norm.running_mean.abs().max()) > 0


@st.composite
def _events(draw: st.DrawFn) -> list[str]:
    events: list[str] = draw(st.lists(st.sampled_from(["work", "lose", "die", "blackout"]), max_size=60))
    return events


@given(st.integers(1, 12), st.integers(1, 4), st.booleans(), _events(), st.randoms(use_true_random=False))
def test_whoever_dies_each_batch_counts_once(
    count: int, slots: int, lockstep: bool, events: list[str], random: Random
) -> None:
    """`lose`: the store counts a push, and its worker dies before anybody hears of it."""
    store: dict[tuple[int, int], int] = {}  # what was counted, by push id
    dealer = Dealer(count, slots, lockstep)
    dealt: list[list[int]] = [[] for _ in range(slots)]
    for event in [*events, *["work"] * (2 * count * slots)]:
        slot = random.randrange(slots) if event != "work" or events else 0
        if event == "blackout":
            dealer = Dealer(count, slots, lockstep, dealt)
        if event in ("blackout", "die"):
            for one in range(slots):
                dealer.joined(one, 1 + max((number for owner, number in store if owner == one), default=-1))
            continue
        found = dealer.next(slot)
        if found is None:
            continue
        deal, new = found
        if new:
            dealt[slot].append(deal.batch)
        assert store.setdefault((slot, deal.number), deal.batch) == deal.batch
        if event == "work":
            dealer.counted(slot, deal.number)
    for slot in range(slots):
        while (found := dealer.next(slot)) is not None:
            store.setdefault((slot, found[0].number), found[0].batch)
            dealer.counted(slot, found[0].number)
    assert dealer.finished
    assert sorted(store.values()) == list(range(count))


def test_a_store_that_has_lost_pushes_gets_them_again() -> None:
    dealer = Dealer(4, 1, lockstep=False)
    for number in range(3):
        dealer.next(0)
        dealer.counted(0, number)
    dealer.joined(0, 1)
    again = [found[0].batch for found in [dealer.next(0)] if found]
    assert again == [1]
    assert not dealer.finished


def test_a_torn_last_line_of_a_journal_never_was(tmp_path: Path) -> None:
    file = tmp_path / "journal"
    with closing(Journal(file)) as journal:
        journal.append({"slot": 0, "batch": 1})
        journal.append({"slot": 1, "batch": 2})
    file.write_bytes(file.read_bytes()[:-4])
    with closing(Journal(file)) as journal:
        assert journal.entries == [{"slot": 0, "batch": 1}]
        journal.append({"slot": 1, "batch": 3})
    with closing(Journal(file)) as journal:
        assert [entry["batch"] for entry in journal.entries] == [1, 3]
    file.write_bytes(b"{]\n")
    with pytest.raises(DamagedError, match="begin anew"):
        Journal(file)


def test_one_process_drives_a_training(tmp_path: Path) -> None:
    with closing(Journal(tmp_path / "journal")), pytest.raises(UserError, match="by another process"):
        Journal(tmp_path / "journal")


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ({"optimizer": "adam"}, "--set schedule=constant"),
        ({"optimizer": "adamw", "schedule": "constant"}, "--set optimizer=adam"),
    ],
)
def test_a_recipe_that_a_store_cannot_follow_is_refused(recipe: Mapping[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        Case(tmp_path, **recipe)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"workers": 0}, "workers is 0"),
        ({"mode": "fast"}, "must be async, sync or bounded"),
        ({"mode": "async", "backup": 1}, "backup workers are for mode sync"),
        ({"mode": "bounded", "staleness": -1}, "staleness is -1"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], said: str) -> None:
    setup = Setup("test", Spec("image_classification"))
    with pytest.raises(UserError, match=said):
        ParallelTraining(setup, Trial(0, Candidate({})), **{"workers": 2, **settings})


def test_a_training_travels_as_json() -> None:
    setup = Setup("test", Spec("image_classification", {"dataset": "digits"}), Spec("layers"))
    training = ParallelTraining(setup, Trial(3, Candidate({"depth": 2}), 4, 4, seed=7), 4, "sync", backup=2)
    assert ParallelTraining.from_json(training.json()) == training
    assert (training.slots, training.parts) == (6, 4)
