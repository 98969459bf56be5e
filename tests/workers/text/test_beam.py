"""Beam search against an exhaustive one, and language models in closed form."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from workers.text.beam import Beam, Carried, Hypothesis, Ranking, search
from workers.text.ngram import NGram

BEGIN, END, V, LONGEST = 0, 1, 3, 3


class Table:
    """A model whose probabilities depend on the whole prefix: a table by a number that the prefix makes."""

    def __init__(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.chances = (2 * torch.randn(200, V, generator=generator)).log_softmax(1)

    def __call__(self, tokens: Tensor, state: Carried, fixed: Carried) -> tuple[Tensor, Carried]:
        code = (state[0] * V + tokens + fixed[0]) % 200
        return self.chances[code], (code,)

    def of(self, text: int, tokens: Sequence[int]) -> float:
        """The log probability of `tokens`, by a loop."""
        code, last, total = 0, BEGIN, 0.0
        for token in tokens:
            code = (code * V + last + text) % 200
            total += float(self.chances[code, token])
            last = token
        return total


def started(texts: int) -> tuple[Carried, Carried]:
    return (torch.zeros(texts, dtype=torch.long),), (torch.arange(texts) * 7,)


def everything() -> list[tuple[int, ...]]:
    """All texts that can be written: those that end, and those that are as long as allowed."""
    return [
        tuple(one)
        for length in range(1, LONGEST + 1)
        for one in product(range(V), repeat=length)
        if END not in one[:-1] and (one[-1] == END or length == LONGEST)
    ]


@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.6, 1.0]))
def test_a_beam_of_all_texts_is_an_exhaustive_search(seed: int, penalty: float) -> None:
    model, ranking = Table(seed), Ranking(penalty)
    found = search(model, *started(3), Beam(V**LONGEST, LONGEST, BEGIN, END))
    for text, hypotheses in enumerate(found):
        right = {tokens: model.of(7 * text, tokens) for tokens in everything()}
        assert {one.tokens for one in hypotheses} == set(right)
        assert all(one.log_probability == pytest.approx(right[one.tokens], abs=1e-5) for one in hypotheses)
        assert math.fsum(math.exp(one.log_probability) for one in hypotheses) == pytest.approx(1, abs=1e-5)
        values = [right[tokens] / len(tokens) ** penalty for tokens in right]
        assert ranking.value(ranking.best(hypotheses)) == pytest.approx(max(values), abs=1e-5)


@given(st.integers(0, 10**6), st.integers(2, 9), st.sampled_from([0.0, 1.0]))
def test_no_beam_ends_below_greedy_search(seed: int, size: int, penalty: float) -> None:
    model, ranking = Table(seed), Ranking(penalty)
    greedy = search(model, *started(2), Beam(1, 6, BEGIN, END))
    wide = search(model, *started(2), Beam(size, 6, BEGIN, END))
    for one, many in zip(greedy, wide, strict=True):
        assert len(one) == 1
        assert ranking.value(ranking.best(many)) >= ranking.value(one[0]) - 1e-6


@given(st.integers(0, 10**6))
def test_a_beam_of_one_takes_the_likeliest_token_each_time(seed: int) -> None:
    model = Table(seed)
    for text, (one,) in enumerate(search(model, *started(4), Beam(1, 6, BEGIN, END))):
        tokens: list[int] = []
        while len(tokens) < 6 and END not in tokens:
            tokens.append(max(range(V), key=lambda token: model.of(7 * text, [*tokens, token])))
        assert one.tokens == tuple(tokens)


@given(st.integers(0, 10**6), st.integers(1, 5))
def test_texts_that_are_searched_together_do_not_meet(seed: int, size: int) -> None:
    model, beam = Table(seed), Beam(size, 5, BEGIN, END)
    (state,), (fixed,) = started(3)
    together = search(model, (state,), (fixed,), beam)
    alone = [search(model, (state[i : i + 1],), (fixed[i : i + 1],), beam)[0] for i in range(3)]
    assert together == alone


def test_a_language_model_changes_what_is_best() -> None:
    short, long = Hypothesis((2, END), -1.0), Hypothesis((2, 2, 2, END), -1.5)
    assert Ranking().best([long, short]) == short
    assert Ranking(penalty=1.0).best([short, long]) == long  # -0.5 and -0.375
    scorer = {short.tokens: -4.0, long.tokens: -1.0}.__getitem__
    assert Ranking(0.0, lambda tokens: scorer(tuple(tokens)), 0.1).best([short, long]) == short  # -1.4 and -1.6
    assert Ranking(0.0, lambda tokens: scorer(tuple(tokens)), 0.5).best([short, long]) == long  # -3 and -2


def test_witten_bell_by_hand() -> None:
    """Behind a there are b and c, once each, so p(b | a) = (1 + 2 p(b)) / (2 + 2)."""
    a, b, c, end = 2, 3, 4, 1
    model = NGram([[a, b, end], [a, c, end]], 2, 5, 0)
    alone = (1 + 4 * 0.2) / (6 + 4)  # b is one of 6 tokens, 4 of which are different
    assert model.probability(b, ()) == pytest.approx(alone)
    assert model.probability(b, (a,)) == pytest.approx((1 + 2 * alone) / 4)
    first = (2 + 1 * (2 + 4 * 0.2) / 10) / 3  # all texts begin with a
    assert model.probability(a, (0,)) == pytest.approx(first)
    ends = (1 + 1 * (2 + 4 * 0.2) / 10) / 2
    assert model([a, b, end]) == pytest.approx(math.log(first * (1 + 2 * alone) / 4 * ends))


@given(st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=6), max_size=8), st.integers(1, 4))
def test_an_n_gram_model_is_a_distribution_behind_any_context(texts: list[list[int]], order: int) -> None:
    model = NGram(texts, order, 6, 0)
    for context in {(0,) * (order - 1), *(tuple(text[: order - 1]) for text in texts if len(text) >= order - 1)}:
        assert math.fsum(model.probability(token, context) for token in range(6)) == pytest.approx(1)
