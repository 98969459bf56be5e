"""The encoder-decoder network against torch's packed layers, plain loops, and itself step by step."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from search_spaces.rnn.attention import Attention, copied
from search_spaces.rnn.seq2seq_network import Seq2SeqNetwork
from search_spaces.rnn.sequence_encoder import SequenceEncoder
from search_spaces.rnn.sequences import within

V = 11
KINDS = list(product(("rnn", "gru", "lstm"), ("none", "additive", "dot", "general"), (False, True)))


def network_of(
    unit: str, attention: str, bidirectional: bool, pointer: bool = False, layers: int = 2
) -> Seq2SeqNetwork:
    torch.manual_seed(3)
    sizes = {"layers": layers, "hidden": 8, "embedding": 5}
    return Seq2SeqNetwork(V, unit, sizes, attention, bidirectional, pointer, 0.5).eval()


def texts(*lengths: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    rows = [torch.randint(1, V, (length,), generator=generator) for length in lengths]
    return nn.utils.rnn.pad_sequence(rows, batch_first=True)


@pytest.mark.parametrize("unit", ["rnn", "gru", "lstm"])
def test_the_encoder_equals_packed_bidirectional_layers(unit: str) -> None:
    torch.manual_seed(0)
    encoder = SequenceEncoder(unit, (5, 8, 2), True, 0.0)
    theirs = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[unit](5, 4, 2, batch_first=True, bidirectional=True)
    with torch.no_grad():
        for layer in range(2):
            for ours, suffix in ((encoder.forwards[layer], ""), (encoder.backwards[layer], "_reverse")):
                read = ours.get_parameter("weight_ih_l0")
                theirs.get_parameter(f"weight_ih_l{layer}{suffix}").copy_(read[:, :-1])
                theirs.get_parameter(f"bias_ih_l{layer}{suffix}").copy_(read[:, -1])
                theirs.get_parameter(f"weight_hh_l{layer}{suffix}").copy_(ours.get_parameter("weight_hh_l0"))
                theirs.get_parameter(f"bias_hh_l{layer}{suffix}").zero_()
    inputs, lengths = torch.randn(4, 7, 5, requires_grad=True), torch.tensor([7, 2, 5, 1])
    outputs, ends = encoder(inputs, lengths)
    packed, state = theirs(pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False))
    expected, _ = pad_packed_sequence(packed, batch_first=True)
    inside = within(lengths, 7).unsqueeze(2)
    torch.testing.assert_close(outputs * inside, expected)
    for kind, last in enumerate(state if unit == "lstm" else (state,)):
        for layer in range(2):
            torch.testing.assert_close(ends[layer][kind], torch.cat((last[2 * layer], last[2 * layer + 1]), 1))
    weight = torch.randn(4, 7, 8)
    slope = torch.autograd.grad((outputs * inside * weight).sum(), inputs, retain_graph=True)[0]
    torch.testing.assert_close(slope, torch.autograd.grad((expected * weight).sum(), inputs)[0])


@torch.no_grad()
@pytest.mark.parametrize("score", ["additive", "dot", "general"])
def test_attention_weights_by_plain_loops(score: str) -> None:
    torch.manual_seed(0)
    attention = Attention(score, 4)
    memory, queries, lengths = torch.randn(2, 5, 4), torch.randn(2, 3, 4), [5, 2]
    found = attention(queries, attention.keys(memory), within(torch.tensor(lengths), 5))
    for text, step in product(range(2), range(3)):
        energies = []
        for place in range(lengths[text]):
            q, h = queries[text, step], memory[text, place]
            if score == "additive":
                hidden = [
                    math.tanh(
                        sum(float(attention.query.weight[i, j] * q[j]) for j in range(4))
                        + sum(float(attention.key.weight[i, j] * h[j]) for j in range(4))
                        + float(attention.key.bias[i])
                    )
                    for i in range(4)
                ]
                energies.append(sum(float(attention.energy.weight[0, i]) * hidden[i] for i in range(4)))
            elif score == "dot":
                energies.append(sum(float(q[i] * h[i]) for i in range(4)))
            else:
                energies.append(
                    sum(float(q[j] * attention.query.weight[i, j] * h[i]) for i in range(4) for j in range(4))
                )
        total = sum(math.exp(one) for one in energies)
        right = [math.exp(one) / total for one in energies] + [0.0] * (5 - lengths[text])
        assert found[text, step].tolist() == pytest.approx(right, abs=1e-6)


def test_the_context_is_the_weighted_sum_of_what_was_read() -> None:
    network = network_of("gru", "dot", False, layers=1)
    source, target = texts(6, 3), texts(4, 4)
    seen: list[Tensor] = []
    assert network.combine is not None
    network.combine.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    with torch.no_grad():
        _, memory = network.encode(source)
        weights = network.weights(source, target)
    assert weights is not None
    for text, step in product(range(2), range(4)):
        context = [sum(float(weights[text, step, j] * memory[text, j, i]) for j in range(6)) for i in range(8)]
        assert seen[0][text, step, :8].tolist() == pytest.approx(context, abs=1e-6)
    assert float(weights[1, :, 3:].abs().max()) == 0.0


def test_copies_gather_the_weights_of_equal_tokens() -> None:
    source = torch.tensor([[3, 5, 3, 0], [2, 2, 2, 2]])
    weights = torch.rand(2, 3, 4).softmax(2)
    found = copied(weights, source, V)
    for text, step, token in product(range(2), range(3), range(V)):
        right = sum(float(weights[text, step, place]) for place in range(4) if int(source[text, place]) == token)
        assert float(found[text, step, token]) == pytest.approx(right, abs=1e-6)


def test_written_and_copied_tokens_are_mixed_by_the_gate() -> None:
    """p(w) = g p_write(w) + (1 - g) p_copy(w), from the parts (See et al. 2017, eq. 9); it sums to 1."""
    network = network_of("lstm", "additive", True, pointer=True)
    source, target = texts(6, 3), texts(4, 2)
    gates: list[Tensor] = []
    logits: list[Tensor] = []
    assert network.gate is not None
    network.gate.register_forward_hook(lambda _, __, made: gates.append(made.sigmoid()))
    network.output.register_forward_hook(lambda _, __, made: logits.append(made.softmax(2)))
    with torch.no_grad():
        found, weights = network(source, target).exp(), network.weights(source, target)
    assert weights is not None
    torch.testing.assert_close(found.sum(2), torch.ones(2, 4))
    for text, step, token in product(range(2), range(4), range(V)):
        copy = sum(float(weights[text, step, j]) for j in range(6) if int(source[text, j]) == token)
        gate, write = float(gates[0][text, step, 0]), float(logits[0][text, step, token])
        assert float(found[text, step, token]) == pytest.approx(gate * write + (1 - gate) * copy, abs=1e-6)


@pytest.mark.parametrize(("unit", "attention", "bidirectional"), KINDS)
def test_padding_never_changes_the_answer(unit: str, attention: str, bidirectional: bool) -> None:
    network = network_of(unit, attention, bidirectional, pointer=attention != "none")
    source, target = texts(6, 3, 1), texts(4, 5, 5)
    with torch.no_grad():
        together = network(source, target)
        for place, (read, written) in enumerate(((6, 4), (3, 5), (1, 5))):
            alone = network(source[place : place + 1, :read], target[place : place + 1, :written])
            torch.testing.assert_close(together[place : place + 1, :written], alone)


@pytest.mark.parametrize(("unit", "attention", "bidirectional"), KINDS)
def test_a_target_at_once_equals_one_token_after_the_other(unit: str, attention: str, bidirectional: bool) -> None:
    network = network_of(unit, attention, bidirectional, pointer=attention != "none")
    source, target = texts(6, 3), texts(5, 5)
    with torch.no_grad():
        carried, single = network.encode(source), []
        assert len(carried) == len(network.carries)
        for place in range(5):
            written = network.decode(target[:, place : place + 1], source, carried)
            carried = (*written.state, *carried[network.state_count :])
            single.append(written.logits)
        torch.testing.assert_close(network(source, target), torch.cat(single, 1))


def test_what_comes_later_is_not_seen() -> None:
    network = network_of("gru", "general", True, pointer=True)
    source, target = texts(6, 6), texts(5, 5)
    changed = target.clone()
    changed[:, 3] = 1 + changed[:, 3] % (V - 1)
    with torch.no_grad():
        before, after = network(source, target), network(source, changed)
    torch.testing.assert_close(before[:, :3], after[:, :3])
    assert not torch.allclose(before[:, 3:], after[:, 3:])


def test_gradients_stay_finite_where_nothing_can_be_copied() -> None:
    network = network_of("gru", "dot", True, pointer=True).train()
    network(torch.zeros(2, 4, dtype=torch.long), texts(3, 3)).logsumexp(2).sum().backward()
    (-network(texts(4, 4), texts(3, 3))).sum().backward()
    assert all(bool(one.grad.isfinite().all()) for one in network.parameters() if one.grad is not None)
