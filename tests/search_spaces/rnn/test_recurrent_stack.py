"""The classic recurrent networks: each reads texts as if alone, in pieces as in one go, and costs what is said."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from search_spaces.decision import DecisionError
from search_spaces.decisions import Candidate
from search_spaces.measuring import measured
from search_spaces.rnn.fused_layer import FUSED
from search_spaces.rnn.published_cells import CELLS, DARTS_V2
from search_spaces.rnn.recurrent_stack import RecurrentStackSpace
from search_spaces.rnn.stack_classifier import AttentiveClassifier
from search_spaces.rnn.stack_language_model import StackLanguageModel
from search_spaces.space import Signature, UnfitError

SIZES: Mapping[str, Any] = {"layers": (1, 2, 3), "hidden": (4, 6), "embedding": (4, 5), "cell": "darts_v2"}
TEXTS = Signature("text_classification", {"tokens": (9,)}, {"logits": (4,)}, {"tokens": 50})
WORDS = Signature("language_model", {"tokens": (7,)}, {"logits": (7, 30)}, {"tokens": 30})
SPACES = {
    "text_classification": (RecurrentStackSpace(**SIZES), TEXTS),
    "language_model": (RecurrentStackSpace(for_task="language_model", **SIZES), WORDS),
}
both = pytest.mark.parametrize("kind", SPACES)


def drawn(kind: str, seed: int) -> tuple[Candidate, nn.Module]:
    """A random candidate of the space for `kind`, and its network, ready to answer."""
    space, signature = SPACES[kind]
    candidate = space.decisions.sample(Random(seed))
    torch.manual_seed(seed)
    return candidate, space.build(candidate, signature).eval()


def texts(lengths: list[int], steps: int, seed: int) -> Tensor:
    """Texts of `lengths` words, padded to so many steps."""
    tokens = torch.randint(1, 50, (len(lengths), steps), generator=torch.Generator().manual_seed(seed))
    return tokens * (torch.arange(steps) < torch.tensor(lengths).unsqueeze(1))


@both
@pytest.mark.parametrize("seed", range(20))
def test_costs_are_those_of_the_network(kind: str, seed: int) -> None:
    space, signature = SPACES[kind]
    candidate, network = drawn(kind, seed)
    described = space.describe(candidate, signature)
    assert described.parameters == sum(weight.numel() for weight in network.parameters()), candidate
    if kind == "language_model":  # each matrix is used at each of the 7 steps; embeddings are looked up where not tied
        used = sum(weight.numel() for weight in network.parameters() if weight.dim() == 2)
        used -= 0 if candidate["tied"] else 30 * int(candidate["embedding"])
        assert described.multiply_adds == 7 * used, candidate
    elif candidate["unit"] in FUSED:
        assert described.multiply_adds == measured(network, signature).multiply_adds, candidate


@pytest.mark.parametrize("seed", range(24))
def test_padding_changes_no_answer(seed: int) -> None:
    lengths = [7, 1, 4, 5, 2]
    candidate, network = drawn("text_classification", seed)
    logits = network(texts(lengths, 11, seed))
    for place, length in enumerate(lengths):
        alone = network(texts(lengths, 11, seed)[place : place + 1, :length])
        torch.testing.assert_close(logits[place : place + 1], alone, atol=1e-5, rtol=1e-5, msg=str(candidate))
    nothing = torch.zeros(1, 3, dtype=torch.int64)
    torch.testing.assert_close(network(nothing), network(nothing[:, :1]))


@pytest.mark.parametrize("seed", range(16))
def test_padding_changes_no_gradient(seed: int) -> None:
    candidate, network = drawn("text_classification", seed)
    tokens = texts([5, 3, 5], 5, seed)
    padded = nn.functional.pad(tokens, (0, 4))
    found = [
        torch.autograd.grad(network(one).logsumexp(1).sum(), list(network.parameters())) for one in (tokens, padded)
    ]
    torch.testing.assert_close(found[0], found[1], atol=1e-5, rtol=1e-4, msg=str(candidate))


@pytest.mark.parametrize("seed", range(16))
def test_attention_ignores_padding(seed: int) -> None:
    candidate, network = drawn("text_classification", seed)
    assert hasattr(network, "attention") == (candidate["readout"] == "attention")
    if isinstance(network, AttentiveClassifier):
        tokens = texts([5, 3, 1], 5, seed)
        weights = network.attention(nn.functional.pad(tokens, (0, 4)))
        torch.testing.assert_close(weights[:, :5], network.attention(tokens))
        assert torch.all(weights[:, 5:] == 0)


@pytest.mark.parametrize("seed", range(16))
def test_a_text_in_pieces_is_foreseen_as_in_one_go(seed: int) -> None:
    candidate, network = drawn("language_model", seed)
    tokens = torch.randint(30, (3, 7))
    whole, *end = network(tokens)
    logits, state = [], list[Tensor]()
    for piece in torch.split(tokens, [3, 1, 3], 1):
        found, *state = network(piece, *state)
        logits.append(found)
    torch.testing.assert_close(torch.cat(logits, 1), whole, msg=str(candidate))
    torch.testing.assert_close(state, end)
    assert len(end) == network.state_count
    assert all(one.shape == (3, candidate["hidden"]) for one in end)
    torch.testing.assert_close(network(tokens, *(torch.zeros_like(one) for one in end))[0], whole)


def test_too_few_states_are_refused() -> None:
    model = StackLanguageModel(30, {"embedding": 4, "hidden": 4, "layers": 2, "unit": "lstm"}, tied=False)
    with pytest.raises(ValueError, match="2 states were given, but these layers carry 4"):
        model(torch.zeros(1, 3, dtype=torch.int64), torch.zeros(1, 4), torch.zeros(1, 4))


def test_a_language_model_sees_no_later_token() -> None:
    for seed in range(8):
        _, network = drawn("language_model", seed)
        tokens = torch.randint(30, (2, 7))
        other = torch.cat([tokens[:, :4], (tokens[:, 4:] + 1) % 30], 1)
        torch.testing.assert_close(network(tokens)[0][:, :4], network(other)[0][:, :4])


def test_tied_logits_are_products_with_the_embeddings() -> None:
    torch.manual_seed(0)
    for hidden in (4, 6):
        plan = {"embedding": 4, "hidden": hidden, "layers": 1, "unit": "gru"}
        model = StackLanguageModel(30, plan, tied=True)
        own = dict(model.named_parameters())
        tokens = torch.randint(30, (2, 5))
        outputs = model.stack.carry(model.embedding(tokens))[0]
        seen = outputs @ own["projection.weight"].T if hidden == 6 else outputs
        torch.testing.assert_close(model(tokens)[0], seen @ own["embedding.table.weight"].T + own["bias"])
        assert sum(one.shape == (30, 4) for one in own.values()) == 1


def test_the_published_medium_and_large_models_have_their_sizes() -> None:
    """Zaremba et al. 2014: 20 and 66 million weights for the 10,000 words of the Penn Treebank."""
    words = Signature("language_model", {"tokens": (35,)}, {"logits": (35, 10000)}, {"tokens": 10000})
    for size, millions in ((650, 20), (1500, 66)):
        space = RecurrentStackSpace("language_model", ["lstm"], [2], [size], [size], ["none"], tied=[False])
        described = space.describe(space.decisions.sample(Random(0)), words)
        assert round(described.parameters / 1e6) == millions


def test_what_backpropagation_keeps_is_right_to_a_factor_of_two() -> None:
    generator = Random(0)
    space, signature = RecurrentStackSpace(hidden=[32], embedding=[32]), TEXTS
    for _ in range(12):
        candidate = space.decisions.sample(generator)
        network = space.build(candidate, signature).train()
        kept = kept_bytes(network, torch.randint(1, 50, (16, 9))) / 16
        assert 0.5 < space.describe(candidate, signature).activation_bytes / kept < 2, candidate


def kept_bytes(network: nn.Module, tokens: Tensor) -> int:
    """Of all tensors that torch keeps for the backward pass, weights aside."""
    own = {weight.untyped_storage().data_ptr() for weight in network.parameters()}
    kept = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        _alive = network(tokens)
    return sum(storage.nbytes() for storage in kept.values())


@both
def test_each_option_is_what_its_decision_chooses_from(kind: str) -> None:
    decisions = SPACES[kind][0].decisions
    special = {"text_classification": {"bidirectional", "pyramidal", "readout"}, "language_model": {"tied"}}
    common = {"unit", "layers", "hidden", "embedding", "connection", "dropout", "embedding_dropout"}
    assert set(decisions) == common | special[kind]
    fixed = RecurrentStackSpace(for_task=kind, hidden=[12], units=["gru"])  # type: ignore[arg-type]
    assert {fixed.decisions.sample(Random(seed))["hidden"] for seed in range(9)} == {12}
    assert fixed.decisions["unit"].points == ("gru",)


def test_a_connection_needs_two_layers() -> None:
    space = RecurrentStackSpace(layers=[1])
    assert not {"connection", "pyramidal"} & set(space.decisions.sample(Random(0)))


def test_the_unit_searched_is_a_cell_that_is_given() -> None:
    assert "searched" not in RecurrentStackSpace().decisions["unit"].points
    for cell in ("darts_v2", DARTS_V2):
        space = RecurrentStackSpace(units=["searched"], cell=cell)
        candidate = space.decisions.sample(Random(0))
        assert space.blueprint(candidate, TEXTS).arguments["plan"]["cell"] == DARTS_V2
        assert set(space.describe(candidate, TEXTS).graphs) == {"network", "cell"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"units": ["lstn"]}, "units is 'lstn', but must be one of 'rnn'"),
        ({"hidden": [0]}, "hidden is 0, but must be a whole number from 1"),
        ({"dropout": [1.0]}, "dropout is 1.0, but must be a number from 0.0 to 0.99"),
        ({"layers": []}, "layers is .*at least one"),
        ({"readouts": ["max", "max"]}, "readouts is .*different"),
        ({"tied": [True]}, "tied is .*set for_task: language_model"),
        (
            {"for_task": "language_model", "bidirectional": [True]},
            "bidirectional is .*set for_task: text_classification",
        ),
        ({"for_task": "translation"}, "for_task is 'translation', but must be one of text_classification"),
        ({"units": ["searched"]}, "put under cell one that recurrent_cell has found"),
        ({"units": ["gru"], "cell": "darts_v2"}, "put under cell one that recurrent_cell has found"),
        ({"cell": "darts_v3"}, "cell is 'darts_v3', but must be one of darts_v1"),
        ({"cell": {"family": "graph"}}, "cell is .*in the blueprint"),
        ({"cell": {"family": "grape", "nodes": []}}, "family is 'grape'"),
        ({"cell": {"family": "graph", "nodes": [["swish", 0]], "output": [1]}}, "node1_activation is 'swish'"),
        ({"cell": {"family": "graph", "nodes": [["tanh", 0], ["tanh", 5]], "output": [1, 2]}}, "node2_reads is 5"),
        ({"cell": {**CELLS["tree_example"], "memory": 3}}, "memory_index is 3"),
        ({"cell": {**CELLS["lstm"], "states": ["output", "node14"]}}, "state2_node is 14"),
        ({"cell": {**CELLS["gru"], "output": ["node1"]}}, "it would be"),
    ],
)
def test_wrong_options_are_refused_with_the_rule(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DecisionError, match=message):
        RecurrentStackSpace(**options)


def test_the_other_kind_of_task_names_the_option_to_set() -> None:
    with pytest.raises(UnfitError, match="set its option for_task: language_model, or choose another"):
        RecurrentStackSpace().check(WORDS)
    with pytest.raises(UnfitError, match="set its option for_task: text_classification, or choose another"):
        RecurrentStackSpace(for_task="language_model").check(TEXTS)
    documents = Signature("text_classification", {"tokens": (3, 6)}, {"logits": (4,)}, {"tokens": 50})
    for signature in (documents, Signature("text_classification", {"tokens": (9,)}, {"logits": (4,)})):
        with pytest.raises(UnfitError, match="choose another"):
            RecurrentStackSpace().check(signature)


EXPORTED = [
    {"unit": "lstm", "readout": "attention", "pyramidal": True, "connection": "highway"},
    {"unit": "peephole_lstm", "readout": "last", "pyramidal": False, "connection": "residual"},
    {"unit": "searched", "readout": "max", "pyramidal": True, "connection": "none"},
]


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("fixed", EXPORTED, ids=lambda fixed: fixed["unit"])
def test_classifiers_export_with_a_free_batch(fixed: Mapping[str, Any], tmp_path: Path) -> None:
    cell = {"family": "graph", "nodes": [["tanh", 0]], "output": [1]}  # a large one takes a minute
    space = RecurrentStackSpace(layers=[2], hidden=[4], embedding=[4], bidirectional=[True], cell=cell)
    model = space.build(space.decisions.complete(fixed, Random(0)), TEXTS).eval()
    exported(model, (texts([5, 2], 5, 0),), (texts([5, 2, 1, 4, 3], 5, 1),), tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("unit", ["gru", "searched"])
def test_language_models_export_with_their_state(unit: str, tmp_path: Path) -> None:
    space, signature = SPACES["language_model"]
    layers = 1 if unit == "searched" else 2  # a searched cell is exported step by step and node by node, at length
    candidate = space.decisions.complete({"unit": unit, "layers": layers, "tied": True}, Random(0))
    model = space.build(candidate, signature).eval()
    generator = torch.Generator().manual_seed(0)
    sizes = model.stack.state_sizes  # type: ignore[union-attr]
    few, many = (
        (
            torch.randint(30, (batch, 3), generator=generator),
            *(torch.randn(batch, size, generator=generator) for size in sizes),  # type: ignore[union-attr]
        )
        for batch in (2, 5)
    )
    exported(model, few, many, tmp_path)


def exported(model: nn.Module, few: tuple[Tensor, ...], many: tuple[Tensor, ...], folder: Path) -> None:
    """Export with `few` and see that `many` are answered the same, by torch's program and by onnxruntime."""
    batch = torch.export.Dim("batch", min=1)
    shapes: tuple[Any, ...] = ({0: batch},)
    if isinstance(model, StackLanguageModel):
        shapes = ({0: batch}, tuple({0: batch} for _ in few[1:]))
    expected = model(*many)
    answers = list(expected) if isinstance(expected, tuple) else [expected]
    with warnings.catch_warnings():  # of torch about itself
        warnings.simplefilter("ignore")
        program = torch.export.export(model, few, dynamic_shapes=shapes)
        onnx = torch.onnx.export(model, few, dynamo=True, verbose=False, dynamic_shapes=shapes)
    found = program.module()(*many)
    torch.testing.assert_close(list(found) if isinstance(found, tuple) else [found], answers, atol=1e-5, rtol=1e-5)
    assert onnx is not None
    onnx.save(folder / "model.onnx", external_data=False)
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    fed = {one.name: value.numpy() for one, value in zip(session.get_inputs(), many, strict=True)}
    for one, other in zip(session.run(None, fed), answers, strict=True):
        torch.testing.assert_close(torch.from_numpy(one), other.detach(), atol=1e-5, rtol=1e-5)
