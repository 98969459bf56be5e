"""The controller: its LSTM against torch's, its probabilities and gradients against enumeration and differences."""

from __future__ import annotations

from collections import Counter
from random import Random

import numpy as np
import pytest
import torch
from controlling import SHAPES, TABLE, assert_close, drawn, everything, slopes
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from nas.controllers.controller import Controller
from nas.controllers.learning import Learning
from nas.controllers.lstm import Array, run
from search_spaces.decision import Choice, Decision, Range, When
from search_spaces.decisions import Decisions

shapes = pytest.mark.parametrize("learning", SHAPES.values(), ids=SHAPES.keys())


def test_the_layers_are_torchs() -> None:
    generator = np.random.default_rng(1)
    inputs, d_outputs = generator.normal(size=(7, 3, 4)), generator.normal(size=(7, 3, 5))
    ours = [(generator.normal(size=(w + 5, 20)), generator.normal(size=20)) for w in (4, 5)]
    theirs = torch.nn.LSTM(4, 5, num_layers=2, dtype=torch.float64)
    with torch.no_grad():
        for layer, (weights, bias) in enumerate(ours):
            width = len(weights) - 5
            getattr(theirs, f"weight_ih_l{layer}").copy_(torch.tensor(weights[:width].T.copy()))
            getattr(theirs, f"weight_hh_l{layer}").copy_(torch.tensor(weights[width:].T.copy()))
            getattr(theirs, f"bias_ih_l{layer}").copy_(torch.tensor(bias))
            getattr(theirs, f"bias_hh_l{layer}").zero_()
    traces = [run(inputs, *ours[0])]
    traces.append(run(traces[0].outputs, *ours[1]))
    read = torch.tensor(inputs, requires_grad=True)
    output, (hidden, cell) = theirs(read)
    np.testing.assert_allclose(traces[1].outputs, output.detach().numpy(), atol=1e-12)
    np.testing.assert_allclose([t.hidden[-1] for t in traces], hidden.detach().numpy(), atol=1e-12)
    np.testing.assert_allclose([t.cell[-1] for t in traces], cell.detach().numpy(), atol=1e-12)

    output.backward(torch.tensor(d_outputs))
    back: Array = d_outputs
    for layer in (1, 0):
        back, d_weights, d_bias = traces[layer].back(back, ours[layer][0])
        parts = [getattr(theirs, f"weight_{side}_l{layer}").grad.numpy().T for side in ("ih", "hh")]
        np.testing.assert_allclose(d_weights, np.concatenate(parts), atol=1e-11)
        np.testing.assert_allclose(d_bias, getattr(theirs, f"bias_ih_l{layer}").grad.numpy(), atol=1e-11)
    assert read.grad is not None
    np.testing.assert_allclose(back, read.grad.numpy(), atol=1e-11)


@shapes
def test_probabilities_of_all_candidates_add_up_to_one(learning: Learning) -> None:
    controller = Controller(TABLE, learning)
    candidates = everything()
    assert len(candidates) == 2 * (1 + 2 * 3) * 2 + 3 * 2
    log_p = controller.unroll(drawn(controller), controller.tokens(candidates)).log_probabilities
    assert np.exp(log_p).sum() == pytest.approx(1, abs=1e-12)
    assert np.exp(log_p).std() > 0.005


@shapes
def test_samples_come_as_often_as_their_probability_says(learning: Learning) -> None:
    controller, generator, candidates = Controller(TABLE, learning), Random(5), everything()
    parameters = drawn(controller)
    log_p = controller.unroll(parameters, controller.tokens(candidates)).log_probabilities
    known = dict(zip(candidates, log_p, strict=True))
    samples = [controller.sample(parameters, generator) for _ in range(3000)]
    for sample in samples[:200]:
        assert sample.log_probability == pytest.approx(known[sample.candidate], abs=1e-12)
    counts = Counter(sample.candidate for sample in samples)
    expected = 3000 * np.exp(log_p)
    found = np.array([counts[candidate] for candidate in candidates])
    groups = np.where(expected > 5, np.arange(len(candidates)), len(candidates))  # what is rare counts as one
    found, expected = np.bincount(groups, found), np.bincount(groups, expected)
    assert chisquare(found[expected > 0], expected[expected > 0]).pvalue > 0.001


def test_heat_makes_choices_even() -> None:
    controller, candidates = Controller(TABLE, SHAPES["one layer"]), everything()
    parameters = {**drawn(controller), "head_bias": np.array([30.0] + [0.0] * 13)}  # kind a
    kinds = [Counter(controller.sample(parameters, Random(i), h).candidate["kind"] for i in range(300)) for h in (1, 9)]
    assert kinds[0] == {"a": 300}
    assert set(kinds[1]) == {"a", "b", "c"}
    log_p = controller.unroll(parameters, controller.tokens(candidates)).log_probabilities
    hot = controller.sample(parameters, Random(3), 9.0)
    assert hot.log_probability == pytest.approx(log_p[candidates.index(hot.candidate)])


@shapes
def test_the_gradient_is_the_exact_policy_gradient(learning: Learning) -> None:
    controller, candidates = Controller(TABLE, learning), everything()
    tokens, parameters = controller.tokens(candidates), drawn(controller)
    rewards = np.random.default_rng(2).normal(size=len(candidates))

    def expected(at: dict[str, Array]) -> float:
        return float(np.exp(controller.unroll(at, tokens).log_probabilities) @ rewards)

    unrolled = controller.unroll(parameters, tokens)
    p, zeros = np.exp(unrolled.log_probabilities), np.zeros(len(candidates))
    exact = slopes(expected, parameters)
    for baseline in (0.0, 0.7, -3.0):  # which changes nothing, for the expectation of grad log p is zero
        assert_close(unrolled.gradient(p * (rewards - baseline), zeros), exact)
    assert_close(unrolled.gradient(p, zeros), {name: np.zeros_like(value) for name, value in exact.items()})
    assert max(abs(value).max() for value in exact.values()) > 0.01


@shapes
def test_the_entropy_is_that_of_the_candidates_and_its_gradient_exact(learning: Learning) -> None:
    controller, candidates = Controller(TABLE, learning), everything()
    tokens, parameters = controller.tokens(candidates), drawn(controller)
    weights = np.random.default_rng(3).normal(size=len(candidates))

    def weighed(at: dict[str, Array]) -> float:
        return float(controller.unroll(at, tokens).entropies @ weights)

    unrolled = controller.unroll(parameters, tokens)
    p = np.exp(unrolled.log_probabilities)
    assert p @ unrolled.entropies == pytest.approx(-(p * unrolled.log_probabilities).sum())  # the chain rule of entropy
    assert_close(unrolled.gradient(np.zeros(len(candidates)), weights), slopes(weighed, parameters))


def test_candidates_do_not_touch_each_other() -> None:
    controller, candidates = Controller(TABLE, SHAPES["two layers"]), everything()
    parameters = drawn(controller)
    together = controller.unroll(parameters, controller.tokens(candidates))
    weights = np.random.default_rng(1).normal(size=(2, len(candidates)))
    alone: dict[str, Array] = {name: np.zeros_like(value) for name, value in parameters.items()}
    for i, candidate in enumerate(candidates):
        one = controller.unroll(parameters, controller.tokens([candidate]))
        assert one.log_probabilities[0] == pytest.approx(together.log_probabilities[i])
        assert one.entropies[0] == pytest.approx(together.entropies[i])
        for name, value in one.gradient(weights[0, i : i + 1], weights[1, i : i + 1]).items():
            alone[name] += value
    assert_close(together.gradient(weights[0], weights[1]), alone)


def test_what_is_inactive_has_no_part() -> None:
    controller = Controller(TABLE, SHAPES["one layer"])
    parameters = drawn(controller)
    candidate = next(c for c in everything() if c["kind"] == "c")
    tokens = controller.tokens([candidate])
    assert tokens[0].tolist()[1:3] == [-1, -1]
    gradient = controller.unroll(parameters, tokens).gradient(np.ones(1), np.ones(1))
    inactive = slice(3, 9)  # the words of depth and rate1
    assert not gradient["head"][:, inactive].any()
    assert not gradient["embedding"][1:][inactive].any()
    assert gradient["head"][:, :3].all()


def test_words_are_shared_only_where_asked_and_names_differ_only_in_numbers() -> None:
    own, shared = (Controller(TABLE, Learning(hidden=3, shared=s)) for s in (False, True))
    assert drawn(own)["head"].shape == (3, 3 + 3 + 3 + 3 + 2)
    assert drawn(shared)["head"].shape == (3, 3 + 3 + 3 + 2)
    blocks = Decisions({f"block{b}_input": Choice(tuple(range(b + 1))) for b in range(1, 5)})
    assert drawn(Controller(blocks, Learning(hidden=3, shared=True)))["head_bias"].shape == (5,)


@pytest.mark.parametrize("decisions", [Decisions(), Decisions({"only": Choice(("one",))})])
def test_where_nothing_is_to_decide_all_is_certain(decisions: Decisions) -> None:
    controller = Controller(decisions, SHAPES["one layer"])
    sample = controller.sample(drawn(controller), Random(1))
    assert sample.log_probability == 0
    unrolled = controller.unroll(drawn(controller), controller.tokens([sample.candidate]))
    assert unrolled.log_probabilities == pytest.approx([0])
    assert not any(value.any() for value in unrolled.gradient(np.ones(1), np.ones(1)).values())


@st.composite
def tables(draw: st.DrawFn) -> Decisions:
    """Tables of up to five decisions, active under values of earlier ones."""
    table: dict[str, Decision] = {}
    for place in range(draw(st.integers(1, 5))):
        when, conditional = None, draw(st.booleans())
        if table and conditional:
            name: str = draw(st.sampled_from(sorted(table)))
            when = When.among(name, *draw(st.sets(st.sampled_from(table[name].points), min_size=1)))
        if draw(st.booleans()):
            table[f"d{place}"] = Choice(tuple(range(draw(st.integers(1, 3)))), when)
        else:
            table[f"d{place}"] = Range(1, 2, count=draw(st.integers(2, 3)), when=when)
    return Decisions(table)


@given(tables(), st.booleans(), st.integers(0, 1000))
@settings(max_examples=60)
def test_any_table_is_written_in_full(decisions: Decisions, shared: bool, seed: int) -> None:
    controller = Controller(decisions, Learning(hidden=4, shared=shared))
    parameters, candidates = drawn(controller, 2.0, seed), everything(decisions)
    log_p = controller.unroll(parameters, controller.tokens(candidates)).log_probabilities
    assert np.exp(log_p).sum() == pytest.approx(1, abs=1e-9)
    sample = controller.sample(parameters, Random(seed))
    assert decisions.candidate(sample.candidate) == sample.candidate
    assert sample.log_probability == pytest.approx(log_p[candidates.index(sample.candidate)], abs=1e-9)
