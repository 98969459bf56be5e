"""Language models of searched cells: published sizes, carried states, dropout, exports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from random import Random
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from nas.standalone.inline import inline
from search_spaces.rnn.language_network import LanguageNetwork
from search_spaces.rnn.layer_families import recurrent_layer
from search_spaces.rnn.published_cells import CELLS, NETWORK, darts_v2_words
from search_spaces.rnn.recurrent_cell import RecurrentCellSpace
from search_spaces.space import Signature

NONE = {"embedding": 0.0, "input": 0.0, "hidden": 0.0, "output": 0.0}
SIGNATURE = Signature("language_model", {"tokens": (7,)}, {"logits": (7, 30)}, {"tokens": 30})


def network(cell: str, dropouts: Mapping[str, float] = NONE, **sizes: Any) -> LanguageNetwork:
    torch.manual_seed(0)
    tied = sizes.pop("tied", True)
    return LanguageNetwork(30, {"embedding": 8, "hidden": 8, "layers": 1, **sizes}, CELLS[cell], tied, dropouts)


def tokens(batch: int, steps: int) -> Tensor:
    return torch.randint(30, (batch, steps), generator=torch.Generator().manual_seed(1))


def test_darts_v2_has_as_many_parameters_as_published() -> None:
    """23 million in the paper: 8,500,000 of words, 10,000 biases, 2,890,000 before node 0, 8 * 1,445,000 behind."""
    assert sum(weight.numel() for weight in darts_v2_words().build().parameters()) == 22_960_000


def test_darts_v2_is_described_as_it_is_built() -> None:
    space = RecurrentCellSpace(hidden=850)
    signature = Signature("language_model", {"tokens": (35,)}, {"logits": (35, 10000)}, {"tokens": 10000})
    described = space.describe(space.candidate_of("darts_v2"), signature)
    assert described.parameters == 22_960_000
    assert described.multiply_adds == 35 * (22_960_000 - 10_000)


@pytest.mark.parametrize("cell", CELLS)
def test_a_sequence_in_pieces_gives_what_the_whole_gives(cell: str) -> None:
    model = network(cell, layers=2, embedding=6).eval()
    text = tokens(3, 12)
    with torch.no_grad():
        whole, *last = model(text)
        first, *state = model(text[:, :5])
        second, *state = model(text[:, 5:6], *state)
        third, *state = model(text[:, 6:], *state)
    assert len(last) == len(state) == model.state_count
    torch.testing.assert_close(torch.cat([first, second, third], 1), whole)
    torch.testing.assert_close(state, last)


@pytest.mark.parametrize("cell", CELLS)
def test_no_state_is_a_state_of_zeros(cell: str) -> None:
    model = network(cell, layers=2).eval()
    with torch.no_grad():
        found = model(tokens(2, 3), *(torch.zeros(2, 8) for _ in range(model.state_count)))
        torch.testing.assert_close(found, model(tokens(2, 3)))


@pytest.mark.parametrize("options", [{}, {"embedding": 5}, {"embedding": 5, "tied": False}, {"layers": 3}])
@pytest.mark.parametrize("cell", ["tree", "graph", "gated"])
def test_descriptions_count_what_is_built(cell: str, options: Mapping[str, Any]) -> None:
    space = RecurrentCellSpace(cell=cell, hidden=6, **options)  # type: ignore[arg-type]
    generator = Random(0)
    for _ in range(5):
        candidate = space.decisions.sample(generator)
        described, model = space.describe(candidate, SIGNATURE), space.build(candidate, SIGNATURE)
        assert described.parameters == sum(weight.numel() for weight in model.parameters())
        matrices = [
            weight for name, weight in model.named_parameters() if weight.dim() == 2 and "embedding" not in name
        ]
        decoder = 0 if not space.tied else 30 * (space.embedding or space.hidden)
        assert described.multiply_adds == 7 * (sum(weight.numel() for weight in matrices) + decoder)
        assert set(described.graphs) == {"network", "cell"}


def test_dropout_hides_the_same_numbers_at_every_step_and_nothing_later() -> None:
    model = network("darts_v2", {**NONE, "input": 0.5})
    model.embedding.weight.data.fill_(1.0)
    seen: list[Tensor] = []
    model.layers[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model(tokens(4, 9))
    model.eval()
    model(tokens(4, 9))
    dropped, whole = (one.detach() for one in seen)
    assert set(dropped.flatten().tolist()) == {0.0, 2.0}
    assert torch.equal(dropped, dropped[:, :1].expand_as(dropped))
    assert len({tuple(row.tolist()) for row in dropped[:, 0]}) > 1  # each sequence has its own
    assert torch.equal(whole, torch.ones_like(whole))


def test_dropped_words_are_zeros_wherever_they_stand() -> None:
    model = network("darts_v2", {**NONE, "embedding": 0.5})
    seen: list[Tensor] = []
    model.layers[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    text = torch.arange(30).repeat(2, 2)
    model(text)
    kept = seen[0].abs().sum(2) > 0
    assert 0 < int(kept.sum()) < kept.numel()
    assert torch.equal(kept[:, :30], kept[:, 30:])
    assert torch.equal(kept[0], kept[1])


@pytest.mark.parametrize("cell", CELLS)
def test_hidden_dropout_reaches_every_matrix_that_reads_the_state(cell: str) -> None:
    """With everything dropped, these matrices make no difference, biases and inputs do."""
    torch.manual_seed(0)
    layer = recurrent_layer(CELLS[cell], 4, 6, dropout=0.999999)
    inputs = torch.randn(2, 3, 4)
    state = [torch.randn(2, size) for size in layer.state_sizes]
    before = layer(inputs, *state)
    with torch.no_grad():
        for module in layer.modules():
            if isinstance(module, nn.Linear):
                read = module.in_features - module.in_features % 6  # behind the columns of the inputs
                module.weight[:, module.in_features - read :].mul_(3)
    torch.testing.assert_close(layer(inputs, *state), before)


def test_a_tied_decoder_is_the_embedding() -> None:
    model = network("torch_gru")
    with torch.no_grad():
        hidden, _ = model.layers[0](model.embedding(tokens(2, 5)))
        expected = functional.linear(hidden, model.embedding.weight, model.bias)
        torch.testing.assert_close(model(tokens(2, 5))[0], expected)
    assert len(model.state_dict()) == len(list(model.parameters()))


@pytest.mark.parametrize("cell", CELLS)
def test_a_model_stands_alone(cell: str) -> None:
    """The gathered source, run without this package's modules, builds a network with the same weights and answers."""
    space_cell = CELLS[cell]
    sizes = {"embedding": 8, "hidden": 6, "layers": 1}
    arguments = {"vocabulary": 30, "sizes": sizes, "cell": dict(space_cell), "tied": True, "dropouts": dict(NONE)}
    source = inline([NETWORK], arguments)
    assert "search_spaces" not in source.imports
    assert source.code.count("(RecurrentLayer)") == 1  # nothing of the other families
    room: dict[str, Any] = {}
    exec(f"{source.imports}\n{source.code}", room)
    alone, ours = room[source.names[0]](**arguments), LanguageNetwork(**arguments)  # type: ignore[arg-type]
    alone.load_state_dict(ours.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(alone(tokens(2, 4)), ours(tokens(2, 4)))


@pytest.mark.parametrize("cell", ["darts_v2", "peephole_lstm", "tree_example"])
def test_a_step_can_be_exported_with_any_batch(cell: str) -> None:
    model = network(cell).eval()
    batch = torch.export.Dim("batch")
    state = tuple(torch.randn(2, 8) for _ in range(model.state_count))
    shapes = {"tokens": {0: batch}, "state": tuple({0: batch} for _ in state)}
    program = torch.export.export(model, (tokens(2, 1), *state), dynamic_shapes=shapes).module()
    state = tuple(torch.randn(5, 8) for _ in range(model.state_count))
    with torch.no_grad():
        torch.testing.assert_close(program(tokens(5, 1), *state), model(tokens(5, 1), *state))


@pytest.mark.parametrize("cell", CELLS)
def test_half_of_the_bits_give_nearly_the_same(cell: str) -> None:
    model = network(cell, {**NONE, "hidden": 0.0}, layers=2)
    state = tuple(torch.randn(2, 8) for _ in range(model.state_count))
    with torch.no_grad():
        expected = model(tokens(2, 5), *state)
        with torch.autocast("cpu", torch.bfloat16):
            found = model(tokens(2, 5), *state)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.float(), other, rtol=0.1, atol=0.05)


def test_options_reach_the_network() -> None:
    space = RecurrentCellSpace(dropout_embedding=0.1, dropout_input=0.2, dropout_hidden=0.3, dropout_output=0.4)
    arguments = space.blueprint(space.candidate_of("darts_v2"), SIGNATURE).arguments
    assert arguments["dropouts"] == {"embedding": 0.1, "input": 0.2, "hidden": 0.3, "output": 0.4}
    wide = replace(space, embedding=9, tied=False, layers=2)
    arguments = wide.blueprint(space.candidate_of("darts_v2"), SIGNATURE).arguments
    assert arguments["sizes"] == {"embedding": 9, "hidden": 128, "layers": 2}
    assert arguments["tied"] is False
