"""Stacks of recurrent layers on padded texts, against torch's packed sequences; dropout, halving, connections."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from search_spaces.rnn.connections import Highway, Residual
from search_spaces.rnn.sequences import halved, lengths_of, turned, within
from search_spaces.rnn.stack import Stack
from search_spaces.rnn.stack_classifier import AttentiveClassifier, PoolingClassifier
from search_spaces.rnn.stack_plan import StackPlan
from search_spaces.rnn.word_embedding import WordEmbedding, locked_dropout

LENGTHS = torch.tensor([6, 1, 4, 5])
TORCH = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


def pairs(stack: Stack, theirs: nn.RNNBase) -> list[tuple[Tensor, Tensor]]:
    """Our weights beside those of torch's layers, direction by direction."""
    return [
        (weight, getattr(theirs, name.replace("_l0", f"_l{number}") + direction))
        for direction, layers in (("", stack.forwards), ("_reverse", stack.backwards))
        for number, layer in enumerate(layers)
        for name, weight in layer.layer.named_parameters()  # type: ignore[union-attr]
    ]


def same_weights(stack: Stack, theirs: nn.RNNBase) -> None:
    """Give torch's layers the weights of ours."""
    with torch.no_grad():
        for own, other in pairs(stack, theirs):
            other.copy_(own)


def gradients(outputs: Tensor, *sources: Tensor) -> list[Tensor]:
    """Those of a sum in which every output counts differently."""
    falling = torch.linspace(1.0, -1.0, outputs.numel()).view_as(outputs)
    return list(torch.autograd.grad((outputs * falling).sum(), sources))


@pytest.mark.parametrize("unit", TORCH)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_padded_texts_are_read_as_the_packed_sequences_of_torch(unit: str, bidirectional: bool) -> None:
    torch.manual_seed(0)
    stack = Stack(StackPlan(3, 5, 2, unit, bidirectional))
    theirs = TORCH[unit](3, 5, 2, batch_first=True, bidirectional=bidirectional)
    same_weights(stack, theirs)
    vectors = torch.randn(4, 6, 3, requires_grad=True)
    inside = within(LENGTHS, 6).unsqueeze(2)
    packed = pack_padded_sequence(vectors, LENGTHS, batch_first=True, enforce_sorted=False)
    found = theirs(packed)[0]
    assert isinstance(found, PackedSequence)
    expected = pad_packed_sequence(found, batch_first=True)[0]
    outputs = stack(vectors, LENGTHS)[0].masked_fill(~inside, 0.0)
    torch.testing.assert_close(outputs, expected, atol=1e-5, rtol=0)
    own, others = zip(*pairs(stack, theirs), strict=True)
    torch.testing.assert_close(
        gradients(outputs, vectors, *own), gradients(expected, vectors, *others), atol=1e-5, rtol=1e-5
    )


def test_the_last_state_is_the_one_that_packed_sequences_end_with() -> None:
    torch.manual_seed(0)
    model = PoolingClassifier(
        20, 4, {"embedding": 3, "hidden": 5, "layers": 2, "unit": "lstm", "bidirectional": True}, "last"
    )
    theirs = nn.LSTM(3, 5, 2, batch_first=True, bidirectional=True)
    same_weights(model.stack, theirs)
    tokens = torch.randint(1, 20, (4, 6)) * within(LENGTHS, 6)
    vectors = model.embedding(tokens)
    _, (last, _) = theirs(pack_padded_sequence(vectors, LENGTHS, batch_first=True, enforce_sorted=False))
    torch.testing.assert_close(model.summary(*model.encoded(tokens)), torch.cat([last[-2], last[-1]], 1))


def test_lengths_are_the_places_of_the_last_tokens() -> None:
    tokens = torch.tensor([[3, 2, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0], [4, 0, 5, 0]])
    assert lengths_of(tokens).tolist() == [2, 4, 1, 3]


def test_turning_leaves_the_padding_where_it_is() -> None:
    texts = torch.tensor([[1, 2, 3, 0], [1, 2, 3, 4], [1, 0, 0, 0]]).unsqueeze(2).float()
    found = turned(texts, torch.tensor([3, 4, 1])).squeeze(2)
    assert found.tolist() == [[3, 2, 1, 0], [4, 3, 2, 1], [1, 0, 0, 0]]


def test_halving_pairs_neighbours_and_the_last_of_an_odd_number_with_zeros() -> None:
    texts = torch.tensor([[1, 2, 3, 9, 9], [1, 2, 3, 4, 5], [1, 9, 9, 9, 9]]).unsqueeze(2).float()
    pairs, lengths = halved(texts, torch.tensor([3, 5, 1]))
    assert lengths.tolist() == [2, 3, 1]
    assert pairs[0].tolist() == [[1, 2], [3, 0], [0, 0]]
    assert pairs[1].tolist() == [[1, 2], [3, 4], [5, 0]]
    assert pairs[2].tolist() == [[1, 0], [0, 0], [0, 0]]


def test_a_pyramid_halves_the_steps_between_layers() -> None:
    stack = Stack(StackPlan(3, 5, 3, "gru", pyramidal=True))
    outputs, lengths = stack(torch.randn(4, 6, 3), LENGTHS)
    assert outputs.shape == (4, 2, 5)
    assert lengths.tolist() == [2, 1, 1, 2]


@pytest.mark.parametrize("width", [5, 8])
def test_connections_are_what_was_published(width: int) -> None:
    torch.manual_seed(0)
    before, behind = torch.randn(2, 3, width), torch.randn(2, 3, 5)
    residual, highway = Residual(width, 5), Highway(width, 5)
    assert torch.all(highway.gate.bias == -1)
    own = dict(residual.named_parameters())
    past = before if width == 5 else before @ own["shortcut.weight"].T
    torch.testing.assert_close(residual(before, behind), past + behind)
    own = dict(highway.named_parameters())
    past = before if width == 5 else before @ own["shortcut.weight"].T
    gate = torch.sigmoid(before @ own["gate.weight"].T + own["gate.bias"])
    torch.testing.assert_close(highway(before, behind), gate * behind + (1 - gate) * past)


def test_dropout_hides_the_same_features_at_all_steps_of_a_text() -> None:
    torch.manual_seed(0)
    ones = torch.ones(50, 7, 40)
    found = locked_dropout(ones, 0.25, training=True)
    assert torch.all(found == found[:, :1])
    torch.testing.assert_close(torch.unique(found), torch.tensor([0.0, 1 / 0.75]))
    assert float(found.mean()) == pytest.approx(1, abs=0.05)
    assert torch.any(found[0] != found[1])
    assert locked_dropout(ones, 0.25, training=False) is ones


def test_embedding_dropout_hides_whole_words_wherever_they_stand() -> None:
    torch.manual_seed(0)
    embedding = WordEmbedding(200, 3, 0.25).train()
    tokens = torch.arange(200).repeat(2, 1)
    found = embedding(tokens)
    hidden = torch.all(found == 0, 2)
    torch.testing.assert_close(found, torch.where(hidden.unsqueeze(2), 0.0, embedding.table(tokens) / 0.75))
    assert torch.equal(hidden[0], hidden[1])
    assert 0.15 < float(hidden.float().mean()) < 0.35
    assert torch.equal(embedding.eval()(tokens), embedding.table(tokens))


def test_the_networks_drop_what_their_plan_says() -> None:
    """In training two passes differ where one of the two rates is above 0, and only there."""
    tokens = torch.randint(1, 20, (4, 6))
    for rates, differ in (((0.0, 0.0), False), ((0.5, 0.0), True), ((0.0, 0.5), True)):
        plan = {"embedding": 3, "hidden": 5, "layers": 1, "unit": "gru"}
        model = PoolingClassifier(20, 4, {**plan, "dropout": rates[0], "embedding_dropout": rates[1]}, "mean").train()
        assert (not torch.equal(model(tokens), model(tokens))) == differ


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("pyramidal", [False, True])
def test_attention_is_a_distribution_over_the_tokens_of_each_text(layers: int, pyramidal: bool) -> None:
    torch.manual_seed(0)
    plan = {"embedding": 3, "hidden": 5, "layers": layers, "unit": "gru", "pyramidal": pyramidal}
    model = AttentiveClassifier(20, 4, plan).eval()
    tokens = torch.randint(1, 20, (4, 6)) * within(LENGTHS, 6)
    weights = model.attention(tokens)
    assert weights.shape == tokens.shape
    torch.testing.assert_close(weights.sum(1), torch.ones(4))
    assert torch.all((weights > 0) == (tokens > 0))


def test_attention_weighs_outputs_by_the_softmax_of_their_scores() -> None:
    torch.manual_seed(0)
    model = AttentiveClassifier(20, 4, {"embedding": 3, "hidden": 5, "layers": 1, "unit": "gru"}).eval()
    tokens = torch.randint(1, 20, (4, 6)) * within(LENGTHS, 6)
    outputs, _ = model.encoded(tokens)
    for place, length in enumerate(LENGTHS.tolist()):
        own = outputs[place, :length]
        scores = torch.tanh(own @ model.key.weight.T + model.key.bias) @ model.query.weight[0]
        weights = scores.exp() / scores.exp().sum()
        torch.testing.assert_close(model.attention(tokens)[place, :length], weights)
        torch.testing.assert_close(model.summary(outputs, LENGTHS)[place], weights @ own)
