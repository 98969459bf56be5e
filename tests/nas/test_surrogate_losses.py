from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nas.surrogates.losses import LOSSES, l1, list_mle, pairwise_hinge

numbers = st.floats(-3, 3, allow_nan=False)


def plackett_luce(predicted: list[float], order: tuple[int, ...]) -> float:
    """The probability of drawing the items in this order, by its definition."""
    probability, left = 1.0, list(order)
    for item in order:
        probability *= math.exp(predicted[item]) / sum(math.exp(predicted[other]) for other in left)
        left.remove(item)
    return probability


@given(st.lists(numbers, min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_list_mle_is_the_likelihood_of_the_true_order(predicted: list[float], random: object) -> None:
    scores = list(range(len(predicted)))
    random.shuffle(scores)  # type: ignore[attr-defined]
    every = list(itertools.permutations(range(len(predicted))))
    assert sum(plackett_luce(predicted, order) for order in every) == pytest.approx(1.0)
    true = tuple(sorted(range(len(scores)), key=lambda i: -scores[i]))
    said = list_mle(torch.tensor(predicted, dtype=torch.double), torch.tensor(scores, dtype=torch.double))
    assert float(said) * len(scores) == pytest.approx(-math.log(plackett_luce(predicted, true)), abs=1e-9)


def test_list_mle_is_least_for_the_true_order() -> None:
    scores = torch.tensor([0.3, 0.1, 0.9, 0.5])
    losses = {
        order: float(list_mle(torch.tensor(order), scores)) for order in itertools.permutations([0.0, 1.0, 2.0, 3.0])
    }
    assert min(losses, key=losses.__getitem__) == (1.0, 0.0, 3.0, 2.0)


@given(st.lists(st.tuples(numbers, st.sampled_from([0.0, 0.5, 1.0])), min_size=2, max_size=6), st.floats(0, 1))
def test_hinge_is_its_formula(rows: list[tuple[float, float]], margin: float) -> None:
    pairs = [(p, q) for p, s in rows for q, t in rows if s > t]
    wanted = sum(max(0.0, margin - (p - q)) for p, q in pairs) / max(1, len(pairs))
    predicted, scores = torch.tensor(rows, dtype=torch.double).T
    assert float(pairwise_hinge(predicted, scores, margin)) == pytest.approx(wanted, abs=1e-9)


def test_l1_is_torchs() -> None:
    generator = torch.Generator().manual_seed(0)
    predicted, scores = torch.rand(2, 7, generator=generator)
    assert torch.allclose(l1(predicted, scores), torch.nn.functional.l1_loss(predicted, scores))


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_agree_with_finite_differences(name: str) -> None:
    generator = torch.Generator().manual_seed(3)
    predicted = torch.randn(2, 6, dtype=torch.double, generator=generator).requires_grad_()
    scores = torch.randn(2, 6, dtype=torch.double, generator=generator)
    assert torch.autograd.gradcheck(lambda p: LOSSES[name](p, scores), (predicted,))


@pytest.mark.parametrize("name", LOSSES)
def test_members_are_apart(name: str) -> None:
    generator = torch.Generator().manual_seed(4)
    predicted, scores = torch.randn(2, 3, 5, generator=generator)
    one_by_one = torch.stack([LOSSES[name](p, s) for p, s in zip(predicted, scores, strict=True)])
    assert torch.allclose(LOSSES[name](predicted, scores), one_by_one)
