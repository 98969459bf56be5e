from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from gru_space import GruNet
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from workers.text.reading import Streams, continued, mean_loss, next_step, read, windows

CPU = torch.device("cpu")


class Table(nn.Module):
    """Foresees by the last token alone; has no state."""

    def __init__(self, chances: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(chances.log())

    def forward(self, tokens: Tensor) -> Tensor:
        return self.logits[tokens]


def network(known: int = 7, seed: int = 0) -> GruNet:
    torch.manual_seed(seed)
    return GruNet(known, hidden=6, dropout=0.5).eval()


def drawn(count: int, known: int = 7, seed: int = 0) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    return np.random.default_rng(seed).integers(known, size=count).astype(np.int32)


def one_by_one(model: GruNet, numbers: list[int]) -> list[float]:
    """What each token but the first costs in nats: a plain loop over single tokens."""
    state, costs = None, []
    with torch.no_grad():
        for seen, next_one in itertools.pairwise(numbers):
            logits, state = model(torch.tensor([[seen]]), state)
            costs.append(-float(logits[0, 0].double().log_softmax(0)[next_one]))
    return costs


@pytest.mark.parametrize("steps", [1, 7, 100])
def test_the_score_is_that_of_a_plain_loop(steps: int) -> None:
    model, numbers = network(), drawn(100)
    expected = np.mean(one_by_one(model, numbers.tolist()))
    assert mean_loss(model, Streams(numbers, 1, CPU, whole=True), steps) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("rows", [2, 3, 8, 98, 99, 500])
def test_pieces_side_by_side_lack_only_what_was_before_them(rows: int) -> None:
    model, numbers = network(), drawn(100)
    length = math.ceil(99 / min(rows, 99))
    costs: list[float] = []
    for start in range(0, 99, length):
        costs += one_by_one(model, numbers[start : start + length + 1].tolist())
    assert len(costs) == 99
    assert mean_loss(model, Streams(numbers, rows, CPU, whole=True), 5) == pytest.approx(np.mean(costs), rel=1e-6)


@given(st.integers(2, 200), st.integers(1, 40), st.integers(1, 50))
@settings(max_examples=60)
def test_a_model_of_pairs_scores_its_cross_entropy_however_it_is_read(count: int, rows: int, steps: int) -> None:
    """In closed form: the mean over all pairs of -ln p(second | first)."""
    numbers, chances = drawn(count, seed=count), torch.from_numpy(np.random.default_rng(count).dirichlet([1] * 7, 7))
    expected = -np.mean([math.log(chances[a, b]) for a, b in itertools.pairwise(numbers)])
    found = mean_loss(Table(chances), Streams(numbers, rows, CPU, whole=True), steps)
    assert found == pytest.approx(float(expected), rel=1e-5)


def test_a_model_of_frequencies_scores_the_entropy() -> None:
    """Its own text's: sum of -p ln p, since every token but the first is foreseen once."""
    numbers = drawn(5001, seed=3) % 3
    shares = torch.bincount(torch.from_numpy(numbers[1:]), minlength=3).double() / 5000
    entropy = -float((shares * shares.log()).sum())
    for rows in (1, 10):
        found = mean_loss(Table(shares.expand(3, 3)), Streams(numbers, rows, CPU, whole=True), 64)
        assert found == pytest.approx(entropy, rel=1e-6)


@given(st.integers(2, 100), st.integers(1, 99), st.booleans())
def test_streams_hold_each_token_and_the_one_after_it(count: int, rows: int, whole: bool) -> None:
    streams = Streams(np.arange(count, dtype=np.int32), rows, CPU, whole)
    inputs, targets = streams.window(0, streams.length)
    pairs = [(a, b) for a, b in zip(inputs.flatten().tolist(), targets.flatten().tolist(), strict=True) if b >= 0]
    assert pairs == [(place, place + 1) for place in range(streams.foreseen)]
    assert count - 1 - streams.foreseen in (range(1) if whole else range(rows))


def test_windows_are_one_behind_the_other() -> None:
    assert windows(10, [4, 4, 4]) == [(0, 4), (4, 8), (8, 10)]
    assert windows(10, [3, 20, 5]) == [(0, 3), (3, 10)]


def test_a_continuation_is_drawn_from_what_the_model_foresees() -> None:
    """Each pair as often as its chance says, within four deviations; at a temperature, of the powers of these."""
    chances = torch.tensor([[0.1, 0.6, 0.3], [0.5, 0.2, 0.3], [0.3, 0.3, 0.4]])
    for temperature in (1.0, 0.5):
        sharper = chances ** (1 / temperature)
        expected = (sharper / sharper.sum(1, keepdim=True)).numpy()
        found = continued(Table(chances), [0], 4000, temperature, torch.Generator().manual_seed(1), context=1)
        counts = np.zeros((3, 3))
        for pair in zip([0, *found], found, strict=False):
            counts[pair] += 1
        of_each = counts.sum(1, keepdims=True)
        assert (abs(counts / of_each - expected) < 4 * np.sqrt(expected * (1 - expected) / of_each)).all()


def test_a_continuation_carries_the_state_on() -> None:
    """The least temperature takes the likeliest: as a model does that reads the whole text again for each token."""
    model, seen = network(), [1, 2, 3]
    found = continued(model, seen, 20, 1e-6, torch.Generator().manual_seed(0), context=1)
    with torch.no_grad():
        for _ in range(20):
            seen.append(int(model(torch.tensor([seen]))[0][0, -1].argmax()))
    assert found == seen[3:]


def test_the_next_step_goes_on_from_a_state() -> None:
    model, numbers = network(), drawn(100)
    tokens, state = next_step(model, numbers, 3, 10)
    assert (tokens.shape, state.shape) == ((3, 1), (3, 1, 6))
    logits, after = read(model, tokens, (state,))
    rows = torch.stack([torch.from_numpy(numbers[place : place + 11]).long() for place in (0, 44, 89)])
    expected, last = model(rows)
    torch.testing.assert_close(logits[:, 0], expected[:, -1])
    torch.testing.assert_close(after[0], last)
    assert float(state.detach().abs().min()) > 0
    assert [tuple(one.shape) for one in next_step(Table(torch.ones(7, 7)), numbers, 2, 10)] == [(2, 10)]


def test_reading_in_windows_is_reading_at_once() -> None:
    model, numbers = network(), torch.from_numpy(drawn(40)).long().view(2, 20)
    at_once, last = read(model, numbers, ())
    first, state = read(model, numbers[:, :13], ())
    second, state = read(model, numbers[:, 13:], state)
    torch.testing.assert_close(torch.cat([first, second], 1), at_once)
    torch.testing.assert_close(state, last)
