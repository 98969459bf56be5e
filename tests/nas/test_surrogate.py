from __future__ import annotations

from random import Random

import numpy as np
import pytest
import torch
from progressive import Chain

from nas.surrogates.correlation import spearman
from nas.surrogates.ensemble import NETWORKS, Ensemble
from nas.surrogates.frontier import Frontier
from nas.surrogates.losses import LOSSES
from nas.surrogates.lstm import Lstm
from nas.surrogates.mlp import Mlp
from nas.surrogates.network import HIDDEN
from nas.surrogates.vocabulary import Tokens, Vocabulary
from search_spaces.cnn.pnas import PnasSpace
from search_spaces.decisions import Candidate
from search_spaces.space import Space

SPACE = PnasSpace(blocks=4, operations=("identity", "separable_3x3", "max_pool_3x3"))
VOCABULARY = Vocabulary(SPACE.decisions)


def cells(blocks: int, count: int, seed: int = 0) -> list[Candidate]:
    generator = Random(seed)
    return [SPACE.decisions.complete({"blocks": blocks}, generator) for _ in range(count)]


def sequences(blocks: int, count: int, seed: int = 0) -> list[Tokens]:
    return [VOCABULARY.sequence(cell) for cell in cells(blocks, count, seed)]


def score(sequence: Tokens) -> float:
    return sum(token % 5 for token in sequence) / (4 * len(sequence))


def fitted(network: str, loss: str = "list_mle", seed: int = 0) -> Ensemble:
    model = Ensemble(VOCABULARY, network, loss, seed=seed)
    known = sequences(2, 40)
    model.fit(known, [score(one) for one in known])
    return model


def test_lstm_is_torchs() -> None:
    ours = Lstm(VOCABULARY, 2, 0.3, torch.Generator().manual_seed(0))
    ids = torch.tensor([sequences(3, 6, seed) for seed in (1, 2)])
    for member in range(2):
        theirs = torch.nn.LSTM(HIDDEN, HIDDEN, batch_first=True)
        weights = {
            "weight_ih_l0": ours.inward[member].T,
            "weight_hh_l0": ours.recurrent[member].T,
            "bias_ih_l0": ours.gate_bias[member, 0],
            "bias_hh_l0": torch.zeros(4 * HIDDEN),
        }
        theirs.load_state_dict(weights)
        with torch.no_grad():
            _, (hidden, _) = theirs(ours.tokens()[member][ids[member]])
            wanted = hidden[0] @ ours.readout[member] + ours.offset[member]
            assert torch.allclose(ours.forward(ids)[member], wanted[:, 0], atol=1e-6)


def test_mlp_pools_each_slot_over_the_blocks() -> None:
    ours = Mlp(VOCABULARY, 1, 0.3, torch.Generator().manual_seed(0))
    ids = torch.tensor(sequences(3, 6))
    embedded = ours.tokens()[0][ids]  # (6, 12, embedding)
    pooled = embedded.reshape(6, 3, 4, HIDDEN).mean(1).reshape(6, 4 * HIDDEN)
    hidden = torch.relu(pooled @ ours.first[0].reshape(4 * HIDDEN, HIDDEN) + ours.first_bias[0])
    hidden = torch.relu(hidden @ ours.second[0] + ours.second_bias[0])
    wanted = (hidden @ ours.readout[0] + ours.offset[0])[:, 0]
    assert torch.allclose(ours.forward(ids[None])[0], wanted, atol=1e-6)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("space", [SPACE, Chain(4)], ids=["rows", "whole"])
def test_expansions_score_as_whole_sequences_do(space: Space, loss: str, network: str) -> None:
    vocabulary = Vocabulary(space.decisions)
    model = Ensemble(vocabulary, network, loss, members=3, seed=1)
    parents = [child for small in space.smallest() for child in space.grow(small)][:25]
    known = [vocabulary.sequence(parent) for parent in parents]
    model.fit(known, [score(one) for one in known])
    frontier = Frontier(space, vocabulary, parents)
    children = [frontier.candidate(row) for row in range(len(frontier))]
    assert children == [child for parent in parents for child in space.grow(parent)]
    assert all(children[row] in list(space.grow(parents[frontier.origin(row)])) for row in range(0, len(frontier), 17))
    fast = model.expand(frontier.prefixes, frontier.owners, frontier.suffixes)
    slow = model.predict([vocabulary.sequence(child) for child in children])
    assert np.allclose(fast, slow, atol=1e-6)


def test_parents_of_several_sizes_can_stand_in_one_beam() -> None:
    model = fitted("lstm")
    parents = [*cells(1, 3), *cells(3, 3), *cells(4, 2)]
    frontier = Frontier(SPACE, VOCABULARY, parents)
    children = [child for parent in parents for child in SPACE.grow(parent)]
    assert [frontier.candidate(row) for row in range(len(frontier))] == children
    fast = model.expand(frontier.prefixes, frontier.owners, frontier.suffixes)
    assert np.allclose(fast, model.predict([VOCABULARY.sequence(child) for child in children]), atol=1e-6)


@pytest.mark.parametrize("network", NETWORKS)
def test_padding_changes_nothing(network: str) -> None:
    model = fitted(network)
    short, long = sequences(1, 4), sequences(4, 4)
    together = model.predict(short + long)
    assert np.allclose(together, np.concatenate([model.predict(short), model.predict(long)]), atol=1e-6)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("loss", LOSSES)
def test_learns_an_order_and_says_it_in_the_unit_of_the_scores(network: str, loss: str) -> None:
    known, unknown = sequences(2, 120), sequences(2, 60, seed=9)
    model = Ensemble(VOCABULARY, network, loss, seed=2)
    model.fit(known, [1000 + 50 * score(one) for one in known])
    said = model.predict(unknown)
    rho = spearman(said.tolist(), [score(one) for one in unknown])
    assert rho is not None
    assert rho > 0.7
    assert 990 < said.min() < said.max() < 1060


@pytest.mark.parametrize("network", NETWORKS)
def test_equal_seeds_give_equal_predictions_and_torchs_generator_is_left_alone(network: str) -> None:
    before = torch.random.get_rng_state()
    asked = sequences(3, 20)
    said = [fitted(network, seed=seed).predict(asked) for seed in (5, 5, 6)]
    assert np.array_equal(said[0], said[1])
    assert not np.array_equal(said[0], said[2])
    assert torch.equal(before, torch.random.get_rng_state())


def test_each_member_is_trained_on_four_fifths(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.Tensor] = []
    forward = Mlp.forward

    def record(self: Mlp, ids: torch.Tensor) -> torch.Tensor:
        seen.append(ids)
        return forward(self, ids)

    monkeypatch.setattr(Mlp, "forward", record)
    rows = sorted(set(sequences(2, 60)))[:50]
    Ensemble(VOCABULARY, "mlp").fit(rows, [0.5] * 50)
    batch = seen[0]
    assert batch.shape[:2] == (5, 40)
    left_out = [set(rows) - {tuple(row) for row in member.tolist()} for member in batch]
    assert [len(member) for member in left_out] == [10] * 5
    assert set().union(*left_out) == set(rows)


def test_l1_begins_at_the_published_offset_and_stays_between_zero_and_one() -> None:
    fresh = Lstm(VOCABULARY, 1, 1.8, torch.Generator().manual_seed(0))
    assert torch.sigmoid(fresh.offset).item() == pytest.approx(0.858, abs=1e-3)
    said = fitted("lstm", "l1").predict(sequences(4, 50))
    assert 0 <= said.min() <= said.max() <= 1


@pytest.mark.parametrize("scores", [[0.7], [0.7, 0.7, 0.7], [1e9, -1e9, 0.0, 0.0, 1.0, 2.0]])
@pytest.mark.parametrize("loss", LOSSES)
def test_few_equal_and_wild_scores_give_finite_predictions(loss: str, scores: list[float]) -> None:
    model = Ensemble(VOCABULARY, "mlp", loss)
    known = sequences(2, len(scores))
    model.fit(known, scores)
    assert np.isfinite(model.predict(known)).all()
