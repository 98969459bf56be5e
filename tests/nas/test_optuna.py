"""The strategy `optuna` against Optuna itself: same suggestions from the same seeds, unbroken or resumed."""

from __future__ import annotations

import json
import logging
import math
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib import import_module
from random import Random
from typing import Any, TypeAlias

import numpy as np
import optuna
import pytest
from optuna import samplers
from optuna.trial import TrialState

from nas.samplers.build import Seeds
from nas.samplers.options import OPTIONS, SAMPLERS
from nas.samplers.table import Table
from nas.strategies.optuna import OptunaSearch
from nas.strategy import Draw, Setting
from nas.threads import on_one_thread
from nas.wrappers.deduplicate import Deduplicate
from search_spaces.decision import Choice, Range, When
from search_spaces.decisions import Candidate, Decisions
from workers.errors import UserError
from workers.objectives import Direction, Objective, Outcome
from workers.trial import Result, Trial

Event: TypeAlias = Trial | Result
Told: TypeAlias = tuple[float, ...] | None  # the losses, None for a failure

FLAT = Decisions(
    {
        "kind": Choice(("a", "b", "c")),
        "rate": Range(1e-4, 1.0, log=True, count=3),
        "depth": Range(1, 9, integer=True, count=3),
        "units": Range(4, 256, integer=True, log=True, count=3),
        "width": Choice((8, 16, 64, 256), ordered=True),
        "dropout": Range(0.0, 0.9, count=3),
        "only": Choice(("one",)),
    }
)
BRANCHED = Decisions(
    {
        "optimizer": Choice(("sgd", "adam")),
        "momentum": Range(0.0, 0.99, when=When.equals("optimizer", "sgd")),
        "rate": Range(1e-4, 1.0, log=True),
        "layers": Range(1, 3, integer=True),
        "second": Choice(("relu", "tanh"), when=When.at_least("layers", 2)),
        "third": Choice(("relu", "tanh"), when=When.at_least("layers", 3)),
    }
)
LOSS = Objective("loss", Direction.MINIMIZE)
SIZE = Objective("size", Direction.MINIMIZE)
SEED = 7

SMALL: dict[str, dict[str, Any]] = {  # so that models and generations begin early
    "tpe": {"n_startup_trials": 5},
    "gp": {"n_startup_trials": 8},
    "cmaes": {"popsize": 4},
    "nsgaii": {"population_size": 6},
    "nsgaiii": {"population_size": 6},
}
TRIALS = {"gp": 13}
QUICK = [name for name in SAMPLERS if name != "gp"]
SLOW = pytest.param("gp", marks=pytest.mark.slow)  # half a second for an ask while others run


def losses(candidate: Mapping[str, Any]) -> tuple[float, float]:
    """Something to minimise that is different for every candidate."""
    first = sum(len(name) * (math.log(v) if isinstance(v, float) and v > 0 else 0.0) for name, v in candidate.items())
    noise = Random(json.dumps(sorted(candidate.items()))).random()
    return abs(first + 20) + noise, float(len(candidate)) + noise


def ours(sampler: str, decisions: Decisions, objectives: int = 1, **options: Any) -> OptunaSearch:
    setting = Setting(decisions, (LOSS, SIZE)[:objectives], seed=SEED)
    return OptunaSearch(setting, sampler, {**SMALL.get(sampler, {}), **options})


def search(
    ask: Callable[[], tuple[int, Candidate]], tell: Callable[[int, Told], None], slots: int, trials: int, fails: bool
) -> list[Candidate]:
    """What was asked, by `slots` machines that finish in any order, every seventh trial failing where it `fails`."""
    generator, running, asked = Random(slots), list[tuple[int, Candidate]](), list[Candidate]()
    while True:
        while len(running) < slots and len(asked) < trials:
            running.append(ask())
            asked.append(running[-1][1])
        if not running:
            return asked
        number, candidate = running.pop(generator.randrange(len(running)))
        tell(number, None if fails and number % 7 == 6 else losses(candidate))


def asked_of(
    strategy: OptunaSearch, slots: int, trials: int, fails: bool = True
) -> tuple[list[Candidate], list[Event]]:
    events: list[Event] = []

    def ask() -> tuple[int, Candidate]:
        trial = strategy.ask()
        assert trial is not None
        events.append(trial)
        return trial.id, trial.candidate

    def tell(number: int, told: Told) -> None:
        metrics = {} if told is None else dict(zip(("loss", "size"), told, strict=True))
        result = Result(number, 1, Outcome.FAILED if told is None else Outcome.COMPLETED, metrics)
        events.append(result)
        strategy.tell(result)

    return search(ask, tell, slots, trials, fails), events


@contextmanager
def calm() -> Iterator[None]:
    """What Optuna says of its own searches is not news here; on one thread, as ours, its sums come out alike."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    with warnings.catch_warnings(), ExitStack() as stack:
        warnings.simplefilter("ignore")
        if "torch" in sys.modules:  # by its Gaussian process, which others do without
            stack.enter_context(import_module("nas.surrogates.threads").on_one_thread())
            stack.enter_context(on_one_thread())
        yield
    optuna.logging.set_verbosity(verbosity)


def theirs(name: str, seeds: Seeds, decisions: Decisions, **options: Any) -> samplers.BaseSampler:
    """The sampler as Optuna has it, pickles and all."""
    constant = Random(f"{SEED}/optuna").getrandbits(32)
    independent = samplers.RandomSampler(seed=seeds.independent)
    if name == "random":
        return independent
    if name == "grid":
        return samplers.GridSampler(Table(decisions).grid(), seed=constant)
    if name == "tpe":
        return samplers.TPESampler(seed=seeds.joint, **options)
    if name == "qmc":
        return samplers.QMCSampler(seed=constant, scramble=True, independent_sampler=independent)
    if name in ("gp", "cmaes"):
        kind: Any = samplers.GPSampler if name == "gp" else samplers.CmaEsSampler
        return kind(seed=seeds.joint, independent_sampler=independent, **options)  # type: ignore[no-any-return]
    genetic: Any = samplers.NSGAIISampler if name == "nsgaii" else samplers.NSGAIIISampler
    found = genetic(seed=seeds.joint, **options)
    found._random_sampler = independent  # which Optuna seeds like the other: see `Apart`
    return found  # type: ignore[no-any-return]


def asked_of_optuna(
    name: str, decisions: Decisions, slots: int, trials: int, objectives: int = 1, **options: Any
) -> list[Candidate]:
    """What Optuna asks when its sampler is seeded anew for every trial, as ours is."""
    study = optuna.create_study(directions=["minimize"] * objectives)
    table, given = Table(decisions), {**SMALL.get(name, {}), **options}

    def ask() -> tuple[int, Candidate]:
        study.sampler = theirs(name, Seeds.of(Draw(SEED, len(study.trials)).generator()), decisions, **given)
        trial = study.ask()
        return trial.number, table.walk(trial)

    def tell(number: int, told: Told) -> None:
        if told is None:
            study.tell(number, state=TrialState.FAIL)
        else:
            study.tell(number, told[:objectives])

    with calm():
        return search(ask, tell, slots, trials, fails=True)


@pytest.mark.parametrize("slots", [1, 3])
@pytest.mark.parametrize("name", [*QUICK, SLOW])
def test_asks_what_optuna_asks(name: str, slots: int) -> None:
    trials = TRIALS.get(name, 40)
    asked, _ = asked_of(ours(name, FLAT), slots, trials)
    assert asked == asked_of_optuna(name, FLAT, slots, trials)


@pytest.mark.parametrize("name", ["random", "tpe", SLOW, "nsgaii", "nsgaiii", "qmc"])
def test_asks_what_optuna_asks_where_decisions_are_conditional(name: str) -> None:
    trials = TRIALS.get(name, 40)
    asked, _ = asked_of(ours(name, BRANCHED), 2, trials)
    assert asked == asked_of_optuna(name, BRANCHED, 2, trials)


@pytest.mark.parametrize("name", ["tpe", "nsgaii", "nsgaiii", SLOW])
def test_asks_what_optuna_asks_for_several_objectives(name: str) -> None:
    trials = TRIALS.get(name, 40)
    asked, _ = asked_of(ours(name, FLAT, objectives=2), 2, trials)
    assert asked == asked_of_optuna(name, FLAT, 2, trials, objectives=2)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("tpe", {"multivariate": False}),
        ("tpe", {"multivariate": True, "group": True}),
        ("tpe", {"constant_liar": False, "n_ei_candidates": 5}),
        ("cmaes", {"use_separable_cma": True}),
        ("cmaes", {"with_margin": True}),
        ("cmaes", {"lr_adapt": True, "n_startup_trials": 5}),
        ("nsgaii", {"crossover_prob": 0.5, "mutation_prob": 0.9}),
    ],
)
def test_hands_on_options(name: str, options: dict[str, Any]) -> None:
    decisions = BRANCHED if "group" in options else FLAT
    asked, _ = asked_of(ours(name, decisions, **options), 3, 40)
    assert asked == asked_of_optuna(name, decisions, 3, 40, **options)
    plain, _ = asked_of(ours(name, decisions), 3, 40)
    assert asked != plain


def test_tpe_through_optimize_is_the_same_too() -> None:
    table, found = Table(FLAT), list[Candidate]()

    def objective(trial: optuna.Trial) -> float:
        found.append(table.walk(trial))
        return losses(found[-1])[0]

    def reseed(study: optuna.Study, trial: object = None) -> None:
        seeds = Seeds.of(Draw(SEED, len(study.trials)).generator())
        study.sampler = samplers.TPESampler(seed=seeds.joint)

    study = optuna.create_study()
    reseed(study)
    study.optimize(objective, n_trials=40, callbacks=[reseed])
    strategy = OptunaSearch(Setting(FLAT, (LOSS,), seed=SEED))
    asked, _ = asked_of(strategy, 1, 40, fails=False)
    assert asked == found
    assert min(losses(one)[0] for one in asked[10:]) < min(losses(one)[0] for one in asked[:10])


@pytest.mark.parametrize("name", [*QUICK, SLOW])
@pytest.mark.parametrize("decisions", [FLAT, BRANCHED], ids=["flat", "branched"])
def test_a_resumed_sampler_goes_on_as_the_unbroken_one(name: str, decisions: Decisions) -> None:
    trials = TRIALS.get(name, 40)
    _, events = asked_of(ours(name, decisions), 3, trials)
    for cut in range(0, len(events), 29 if name == "gp" else 7):
        resumed = ours(name, decisions)
        for event in events[:cut]:
            record = json.loads(json.dumps(event.json()))
            if isinstance(event, Trial):
                resumed.hear(Trial.from_json(record))
            else:
                resumed.tell(Result.from_json(record))
        for event in events[cut : cut + 12]:
            if isinstance(event, Trial):
                assert resumed.ask() == event
            else:
                resumed.tell(event)


@pytest.mark.parametrize("name", [*QUICK, SLOW])
def test_a_proposal_leaves_no_trace(name: str) -> None:
    strategy = ours(name, FLAT)
    asked_of(strategy, 2, 15)
    study = strategy._read()
    before = json.dumps(study.ledger.get_study_system_attrs(0))
    for proposal in range(3):
        draw = Draw(SEED, strategy.next_id, proposal)
        assert strategy.propose(draw) == strategy.propose(draw)
    assert len(study.ledger.trials) == 15
    assert json.dumps(study.ledger.get_study_system_attrs(0)) == before


@pytest.mark.parametrize("name", SAMPLERS)
def test_notes_hold_no_pickle_and_little_else(name: str) -> None:
    _, events = asked_of(ours(name, FLAT), 1, 10 if name == "gp" else 40)
    notes = [event.note for event in events if isinstance(event, Trial)]
    assert max(len(json.dumps(note)) for note in notes) < 400
    assert not any("optimizer" in key for note in notes for key in note.get("trial", {}))
    if name in ("random", "tpe", "gp"):  # which keep nothing that the candidates do not say
        assert not any(notes)


def test_cmaes_works_where_nothing_can_be_pickled(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError("pickled")

    for name in ("dumps", "loads", "dump", "load"):
        monkeypatch.setattr(pickle, name, refuse)
    asked, _ = asked_of(ours("cmaes", FLAT), 2, 30)
    assert len(asked) == 30


def infeasible(candidate: Mapping[str, Any]) -> bool:
    return float(candidate["dropout"]) > 0.4


@pytest.mark.parametrize("name", ["tpe", "nsgaii", SLOW])
def test_an_infeasible_trial_breaks_a_constraint(name: str) -> None:
    """As in Optuna where every trial has the constraint and what is infeasible has a bad value."""
    trials = TRIALS.get(name, 60)
    strategy, asked = ours(name, FLAT), list[Candidate]()
    for number in range(trials):
        trial = strategy.ask()
        assert trial is not None
        asked.append(trial.candidate)
        bad = infeasible(trial.candidate)
        metrics = {} if bad else {"loss": losses(trial.candidate)[0]}
        strategy.tell(Result(number, 1, Outcome.INFEASIBLE if bad else Outcome.COMPLETED, metrics))

    study, found, table = optuna.create_study(), list[Candidate](), Table(FLAT)
    with calm():
        for number in range(trials):
            study.sampler = theirs(name, Seeds.of(Draw(SEED, number).generator()), FLAT, **SMALL[name])
            suggested = study.ask()
            found.append(table.walk(suggested))
            bad = infeasible(found[-1])
            suggested.set_constraint("infeasible", 1.0 if bad else -1.0)
            study.tell(suggested, math.inf if bad else losses(found[-1])[0])
    assert any(map(infeasible, asked[:8]))
    assert asked == found
    if name != "gp":
        assert sum(map(infeasible, asked[-30:])) < sum(map(infeasible, asked[:30]))


def test_ceilings_are_constraints_as_far_as_metrics_say() -> None:
    setting = Setting(FLAT, (LOSS,), seed=SEED, ceilings={"parameters": 100.0, "latency": 0.5})
    strategy = OptunaSearch(setting)
    told: list[tuple[Outcome, dict[str, float]]] = [
        (Outcome.COMPLETED, {"loss": 3.0, "parameters": 50.0, "latency": 0.25}),
        (Outcome.INFEASIBLE, {"parameters": 150.0}),
        (Outcome.INFEASIBLE, {"loss": 2.0, "parameters": 80.0, "latency": 2.0}),
        (Outcome.FAILED, {"parameters": 80.0}),
    ]
    for number, (outcome, metrics) in enumerate(told):
        strategy.ask()
        strategy.tell(Result(number, 1, outcome, metrics))
    trials = strategy._read().ledger.trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 3 + [TrialState.FAIL]
    assert [trial.values for trial in trials] == [[3.0], [math.inf], [2.0], None]
    assert trials[0].constraints == {"parameters": -0.5, "latency": -0.5}
    assert trials[1].constraints == {"parameters": 0.5, "latency": -1.0}
    assert trials[2].constraints == {"parameters": pytest.approx(-0.2), "latency": 3.0}
    strategy.ask()
    strategy.tell(Result(4, 1, Outcome.INFEASIBLE, {}))  # out of memory: a reason of its own, that others lack
    strategy.ask()
    assert [trials[i].constraints.get("infeasible") for i in (0, 1, 2, 4)] == [-1.0, -1.0, -1.0, 1.0]


def test_a_result_that_is_told_again_counts_as_told_last() -> None:
    strategy = ours("tpe", FLAT)
    strategy.ask()
    strategy.tell(Result(0, 1, Outcome.INFEASIBLE, {}))
    strategy.tell(Result(0, 1, Outcome.FAILED, {}))
    strategy.ask()
    (first, _) = strategy._read().ledger.trials
    assert (first.state, first.values, first.constraints) == (TrialState.FAIL, None, {})


def test_over_its_time_limit_counts_with_what_it_reached() -> None:
    strategy = ours("tpe", FLAT)
    strategy.ask()
    strategy.tell(Result(0, 1, Outcome.FAILED, {"loss": 4.0}))
    strategy.ask()
    assert strategy._read().ledger.trials[0].values == [4.0]


@pytest.mark.parametrize("slots", [1, 4])
def test_the_grid_is_tried_once_point_by_point(slots: int) -> None:
    decisions = Decisions(
        {
            "kind": Choice(("a", "b")),
            "extra": Choice((1, 2, 3), when=When.equals("kind", "b"), ordered=True),
            "rate": Range(0.1, 1.0, log=True, count=4),
        }
    )
    strategy = ours("grid", decisions)
    asked = set[Candidate]()
    while (trial := strategy.ask()) is not None:
        assert trial.candidate not in asked
        asked.add(trial.candidate)
        if trial.id % slots == 0:
            strategy.tell(Result(trial.id, 1, Outcome.FAILED))
    assert len(asked) == 4 + 3 * 4
    assert strategy.exhausted
    assert {one["rate"] for one in asked} == set(decisions["rate"].points)


def test_what_a_wrapper_refuses_of_a_grid_is_passed_over() -> None:
    strategy = ours("grid", Decisions({"a": Choice((1, 2, 3)), "b": Choice((1, 2))}))
    first = [trial.candidate for p in range(7) if (trial := strategy.propose(Draw(SEED, 0, p))) is not None]
    assert len(first) == len(set(first)) == 6
    assert strategy.exhausted  # nothing is left to propose, and nothing runs
    for one in (strategy, ours("grid", strategy.setting.decisions)):
        one.hear(one.trial(Draw(SEED, 0), first[2]))  # a user's: it is not asked again
        assert not one.exhausted
        rest = [trial.candidate for _ in range(5) if (trial := one.ask()) is not None]
        assert rest == first[:2] + first[3:]
        assert one.ask() is None


def test_qmc_skips_what_is_refused_and_counts_it() -> None:
    strategy, plain = ours("qmc", FLAT), ours("qmc", FLAT)
    for one in (strategy, plain):
        one.ask()
        one.tell(Result(0, 1, Outcome.COMPLETED, {"loss": 1.0}))
    sequence = [plain.ask() for _ in range(5)]
    draw = Draw(SEED, 1, 3)
    skipped = strategy.propose(draw)
    assert skipped is not None
    assert skipped.candidate == sequence[3].candidate  # type: ignore[union-attr]
    strategy.hear(skipped)
    following = strategy.ask()
    assert following is not None
    assert following.candidate == sequence[4].candidate  # type: ignore[union-attr]


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name not in ("cmaes", "gp")])
def test_a_small_space_is_tried_out(name: str) -> None:
    """A sampler that has converged proposes the same again and again: others are drawn instead."""
    decisions = Decisions({"a": Choice((1, 2, 3)), "b": Choice((1, 2, 3), ordered=True)})
    strategy = Deduplicate(ours(name, decisions), attempts=300)
    asked = set[Candidate]()
    while (trial := strategy.ask()) is not None:
        asked.add(trial.candidate)
        strategy.tell(Result(trial.id, 1, Outcome.COMPLETED, {"loss": float(sum(map(int, trial.candidate.values())))}))
    assert len(asked) == 9


def test_a_drawn_candidate_counts_in_its_generation() -> None:
    strategy = ours("nsgaii", FLAT)
    asked_of(strategy, 1, 10)
    own, drawn = (strategy.propose(Draw(SEED, 10, proposal)) for proposal in (0, 20))
    assert own is not None
    assert drawn is not None
    assert drawn.note == own.note
    assert drawn.candidate != own.candidate


def test_a_mutated_value_is_not_the_number_that_chose_the_crossover() -> None:
    decisions = Decisions({"x": Range(0.0, 1.0), "y": Range(0.0, 1.0)})
    strategy = ours("nsgaii", decisions, mutation_prob=1.0)
    asked_of(strategy, 1, 8, fails=False)
    for seed in range(20):
        trial = strategy.propose(draw := Draw(seed, 8))
        assert trial is not None
        seeds = Seeds.of(draw.generator())
        assert trial.candidate["x"] != pytest.approx(np.random.RandomState(seeds.joint).rand())
        assert trial.candidate["x"] == pytest.approx(np.random.RandomState(seeds.independent).rand())


def test_learns_from_the_trials_of_others() -> None:
    best = FLAT.candidate(
        {"kind": "b", "rate": 0.5, "depth": 4, "units": 9, "width": 16, "dropout": 0.3, "only": "one"}
    )
    generator, strategy = Random(0), ours("tpe", FLAT)
    for number in range(30):
        candidate = best if number % 3 == 0 else FLAT.sample(generator)
        strategy.hear(Trial(number, candidate, note={"arm": "enqueued"}))
        strategy.tell(Result(number, 1, Outcome.COMPLETED, {"loss": 0.0 if candidate == best else 1.0}))
    asked = [strategy.ask() for _ in range(20)]
    assert sum(trial is not None and trial.candidate["kind"] == "b" for trial in asked) > 12


def test_the_gaussian_process_sees_the_newest_and_the_best() -> None:
    strategy = ours("gp", FLAT, trials_at_most=8)
    for number in range(20):
        strategy.hear(Trial(number, FLAT.sample(Random(number))))
        strategy.tell(Result(number, 1, Outcome.COMPLETED, {"loss": float((number - 7) ** 2)}))
    ledger = strategy._read().ledger
    assert [trial.number for trial in ledger.get_all_trials(0, deepcopy=False)] == [5, 6, 7, 8, 16, 17, 18, 19]
    running = ledger.add({}, {}, {})
    assert [trial.number for trial in ledger.get_all_trials(0)][-1] == running


def test_a_table_is_walked_as_its_conditions_say() -> None:
    for decisions in (FLAT, BRANCHED):
        table = Table(decisions)
        strategy = ours("random", decisions)
        for trial in (strategy.ask() for _ in range(100)):
            assert trial is not None
            assert decisions.candidate(trial.candidate) == trial.candidate
            params = table.params(trial.candidate)
            assert all(
                table.distributions[name]._contains(table.distributions[name].to_internal_repr(value))
                for name, value in params.items()
            )
            asked = optuna.trial.FixedTrial(params)
            assert table.walk(asked) == trial.candidate  # type: ignore[arg-type]


def test_a_space_is_searched_together_with_its_recipe() -> None:
    from search_spaces.cnn.pnas import PnasSpace

    space = PnasSpace(blocks=2, operations=("identity", "max_pool_3x3"))
    setting = Setting(space.decisions | BRANCHED, (LOSS,), space=space)
    for name in ("tpe", "nsgaii", "cmaes"):
        strategy = OptunaSearch(setting, name, SMALL[name])
        asked, _ = asked_of(strategy, 2, 30)
        assert all(setting.decisions.candidate(candidate) == candidate for candidate in asked)
        assert len(set(asked)) > 20


@pytest.mark.parametrize(
    ("sampler", "options", "words"),
    [
        ("tpr", {}, "sampler is 'tpr'.*did you mean tpe"),
        ("tpe", {"n_startup": 3}, "'n_startup' is no option of the sampler tpe: did you mean n_startup_trials"),
        ("tpe", {"n_startup_trials": 0}, "needs a whole number of at least 1"),
        ("tpe", {"n_startup_trials": True}, "n_startup_trials is True"),
        ("tpe", {"group": True, "multivariate": False}, "group is true, but multivariate is false"),
        ("random", {"seed": 3}, "'seed' is no option of the sampler random: it has none"),
        ("nsgaii", {"crossover": "two"}, "one of uniform, blxalpha"),
        ("nsgaii", {"crossover_prob": 1.5}, "a number from 0 to 1"),
        ("nsgaii", {"mutation_prob": math.nan}, "a number from 0 to 1, or null"),
        ("cmaes", {"with_margin": True, "lr_adapt": True}, "exclude each other"),
        ("cmaes", {"with_margin": "yes"}, "true or false"),
        ("qmc", {"scramble": None}, "true or false"),
    ],
)
def test_says_what_is_wrong_with_an_option(sampler: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        OptunaSearch(Setting(FLAT, (LOSS,)), sampler, options)


def test_says_what_a_sampler_cannot_search() -> None:
    with pytest.raises(UserError, match=r"2 objectives \(loss, size\).*cmaes takes one: leave out the others"):
        OptunaSearch(Setting(FLAT, (LOSS, SIZE)), "cmaes")
    with pytest.raises(UserError, match=r"cmaes moves numbers.* take another sampler"):
        OptunaSearch(Setting(Decisions({"kind": Choice(("a", "b"))}), (LOSS,)), "cmaes")
    wide = Decisions({f"x{i}": Range(0.0, 1.0) for i in range(6)})
    with pytest.raises(UserError, match=r"262,144 points.* fewer points"):
        OptunaSearch(Setting(wide, (LOSS,)), "grid")


def test_defaults_are_those_of_optuna_except_where_we_say_so() -> None:
    import inspect

    classes = {
        "tpe": samplers.TPESampler,
        "gp": samplers.GPSampler,
        "cmaes": samplers.CmaEsSampler,
        "qmc": samplers.QMCSampler,
        "nsgaii": samplers.NSGAIISampler,
        "nsgaiii": samplers.NSGAIIISampler,
    }
    different = {("gp", "trials_at_most"), ("qmc", "scramble"), ("nsgaii", "crossover"), ("nsgaiii", "crossover")}
    for name, kind in classes.items():
        usual = {name: one.default for name, one in inspect.signature(kind).parameters.items()}
        found = {option for option, one in OPTIONS[name].items() if one.default != usual.get(option, "none")}
        assert {(name, option) for option in found} == {pair for pair in different if pair[0] == name}


@pytest.mark.parametrize("crossover", OPTIONS["nsgaii"]["crossover"].among)
@pytest.mark.parametrize("name", ["nsgaii", "nsgaiii"])
def test_every_crossover_makes_children(name: str, crossover: str) -> None:
    mutation = "polynomial" if name == "nsgaii" else None
    asked, _ = asked_of(ours(name, FLAT, crossover=crossover, mutation=mutation), 1, 16)
    assert len(set(asked)) > 12


def test_optuna_is_silent_here_and_only_here(capfd: pytest.CaptureFixture[str]) -> None:
    before = (optuna.logging.get_verbosity(), logging.getLogger("optuna").level)
    for name in ("qmc", "cmaes", "nsgaiii", "tpe"):
        asked_of(ours(name, BRANCHED), 2, 25)
    assert "".join(capfd.readouterr()) == ""
    assert (optuna.logging.get_verbosity(), logging.getLogger("optuna").level) == before
    with pytest.warns(optuna.exceptions.ExperimentalWarning):
        samplers.TPESampler(group=True, multivariate=True)


def test_optuna_is_not_loaded_before_it_is_asked() -> None:
    code = "import sys, nas, nas.job, nas.strategies.optuna; print({'optuna', 'cmaes', 'scipy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
