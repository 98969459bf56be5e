"""Networks of random candidates: shapes, costs, classes, spectral norms, and what torch's exporters make of them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from random import Random
from typing import Any

import pytest
import torch
from built_gans import built
from torch import Tensor, nn
from torch.nn import functional

from search_spaces.decision import Choice
from search_spaces.decisions import Candidate, Decisions
from search_spaces.gan.discriminators import CellDiscriminator, PlainDiscriminator
from search_spaces.gan.energy_discriminator import EnergyDiscriminator
from search_spaces.gan.gan import GanSpace
from search_spaces.gan.gan_network import GanNetwork
from search_spaces.gan.objectives import ENERGIES, SCORES
from search_spaces.space import Signature

OBJECTIVE = Decisions({"objective": Choice(SCORES + ENERGIES)})


@dataclass(frozen=True)
class Case:
    """A space with options, the images to make, and how many classes they have (0: nobody knows)."""

    options: dict[str, Any]
    image: tuple[int, int, int]
    classes: int = 0

    @property
    def space(self) -> GanSpace:
        few = {"widths": (4, 6), "discriminator_widths": (0.5, 1.5), "discriminator_dropouts": (0.0, 0.2)}
        return GanSpace(**{**few, "embedding": 3, "code": 7, **self.options})

    @property
    def signature(self) -> Signature:
        label: dict[str, tuple[int, ...]] = {"label": ()} if self.classes else {}
        vocabularies = {"label": self.classes} if self.classes else {}
        return Signature("image_generation", {"noise": (9,), **label}, {"image": self.image}, vocabularies)

    def candidates(self, count: int) -> Iterator[Candidate]:
        generator, table = Random(7), OBJECTIVE | self.space.decisions
        for _ in range(count):
            yield table.sample(generator)

    def build(self, candidate: Candidate) -> GanNetwork:
        return built(self.space, candidate, self.signature)

    def inputs(self, batch: int) -> tuple[Tensor, ...]:
        generator = torch.Generator().manual_seed(3)
        noise = torch.randn(batch, 9, generator=generator)
        return (noise, torch.arange(batch) % self.classes) if self.classes else (noise,)


CASES = {
    "digits": Case({"stages": (1,)}, (1, 8, 8)),
    "digits of a class": Case({"stages": (1, 2)}, (1, 8, 8), 5),
    "small images": Case({"stages": (1, 2, 3), "further_cells": 1}, (3, 16, 16)),
    "clothes": Case({"stages": (2,)}, (1, 28, 28)),
    "clothes whose class is in the norms": Case({"stages": (1, 2), "condition": "norm"}, (1, 28, 28), 4),
    "photographs": Case({"stages": (3,), "skip_connections": False}, (3, 32, 32)),
    "oblong": Case({"stages": (2, 3), "condition": "norm"}, (2, 16, 24), 3),
    "faces": Case({"stages": (4,), "widths": (2,)}, (3, 64, 64)),
}
cases = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


@cases
def test_images_are_of_the_task_s_shape_and_discriminators_give_what_they_say(case: Case) -> None:
    for candidate in case.candidates(12):
        network = case.build(candidate)
        inputs = case.inputs(3)
        image = network(*inputs)
        assert image.shape == (3, *case.image)
        assert -1 <= image.min() <= image.max() <= 1
        judged = network.discriminator(image, *inputs[1:])
        assert network.reconstructs == network.discriminator.reconstructs == (candidate["objective"] in ENERGIES)
        assert judged.shape == ((3, *case.image) if network.reconstructs else (3,))
        judged.square().mean().backward()
        assert [name for name, weight in network.named_parameters() if weight.grad is None] == []


@cases
def test_descriptions_equal_pairs(case: Case) -> None:
    for candidate in case.candidates(12):
        network = case.build(candidate)
        described = case.space.describe(candidate, case.signature)
        assert described.parameters == sum(weight.numel() for weight in network.parameters())
        assert described.multiply_adds == multiply_adds(network.generator, case.inputs(1))
        assert described.activation_bytes == kept(network.generator, case)


def multiply_adds(generator: nn.Module, inputs: tuple[Tensor, ...]) -> int:
    """Of one image: each weight of a convolution meets each place of its output once, of a transposed one its input."""
    total = 0

    def count(layer: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        weight = layer.weight
        assert isinstance(weight, Tensor)
        seen = given[0] if isinstance(layer, nn.ConvTranspose2d) else output
        places = seen[0, 0].numel() if seen.dim() == 4 else 1
        total += weight.numel() * places

    layers = [one for one in generator.modules() if isinstance(one, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    generator.eval()(*inputs)
    for hook in hooks:
        hook.remove()
    return total


def kept(generator: nn.Module, case: Case) -> int:
    """Bytes that autograd keeps of one example, parameters left out; what does not grow with the batch counts once."""
    sizes = [_kept(generator.train(), case.inputs(batch)) for batch in (2, 3)]
    each = sizes[1] - sizes[0]
    return each + (sizes[0] - 2 * each)


def _kept(generator: nn.Module, inputs: tuple[Tensor, ...]) -> int:
    owned = {tensor.untyped_storage().data_ptr() for tensor in (*generator.parameters(), *generator.buffers())}
    found: dict[int, tuple[int, Tensor]] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in owned:
            found[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        image = generator(*inputs)
    assert image.requires_grad
    return sum(size for size, _ in found.values())


@cases
def test_graphs_are_in_order_and_whole(case: Case) -> None:
    for candidate in case.candidates(8):
        found = case.space.describe(candidate, case.signature).graphs
        assert set(found) == {"network", "generator", "discriminator"}
        for graph in found.values():
            places = {node.name: place for place, node in enumerate(graph.nodes)}
            assert len(places) == len(graph.nodes)
            assert len(set(graph.edges)) == len(graph.edges)
            assert all(places[source] < places[target] for source, target in graph.edges)
            assert set(places) == {name for edge in graph.edges for name in edge}
            last = graph.nodes[-1].name
            assert {name for name in places if not any(source == name for source, _ in graph.edges)} == {last}


@pytest.mark.parametrize("order", ["pre", "post"])
@pytest.mark.parametrize("norm", ["none", "batch", "instance"])
@pytest.mark.parametrize("mode", ["bilinear", "nearest", "transposed"])
def test_a_cell_is_what_autogan_says(order: str, norm: str, mode: str) -> None:
    """Two stages, the second with everything, written down again with torch's functions."""
    space = GanSpace(stages=(2,), generators=("cells",), widths=(5,))
    cell: dict[str, str | bool] = {"order": order, "norm": norm, "upsampling": mode, "shortcut": True}
    values = {f"stage{stage}_{name}": value for stage in (1, 2) for name, value in cell.items()}
    table: dict[str, str | float] = {
        "generator": "cells",
        "width": 5,
        "discriminator_width": 1.0,
        "discriminator_norm": "batch",
    }
    candidate = Candidate({**table, "discriminator_dropout": 0.0, "stages": 2, **values, "stage2_skip1": True})
    torch.manual_seed(1)
    signature = Signature("image_generation", {"noise": (9,)}, {"image": (1, 8, 8)})
    generator = built(space, candidate, signature).generator
    for weight in generator.parameters():
        nn.init.normal_(weight, 0.1, 0.4)
    generator.train()
    weights: dict[str, Tensor] = {name: tensor.clone() for name, tensor in generator.state_dict().items()}

    def conv(name: str, image: Tensor) -> Tensor:
        weight = weights[f"{name}.weight"]
        return functional.conv2d(image, weight, weights[f"{name}.bias"], padding=weight.shape[2] // 2)

    def normed(name: str, image: Tensor) -> Tensor:
        if norm == "none" and name != "norm":
            return image
        axes = (2, 3) if norm == "instance" and name != "norm" else (0, 2, 3)
        centred = image - image.mean(dim=axes, keepdim=True)
        image = centred / (centred.square().mean(dim=axes, keepdim=True) + 1e-5).sqrt()
        if norm == "instance" and name != "norm":
            return image
        return image * weights[f"{name}.weight"][:, None, None] + weights[f"{name}.bias"][:, None, None]

    def larger(name: str, image: Tensor) -> Tensor:
        if mode == "transposed":
            return functional.conv_transpose2d(image, weights[f"{name}.0.weight"], weights[f"{name}.0.bias"], stride=2)
        return functional.interpolate(image, scale_factor=2.0, mode=mode)

    def convolved(name: str, image: Tensor, place: int, enlarge: str | None) -> Tensor:
        if order == "pre":
            image = normed(f"{name}.norms.{place}", image).relu()
        image = larger(enlarge, image) if enlarge else image
        image = conv(f"{name}.{'second' if place else 'first'}", image)
        return image if order == "pre" else normed(f"{name}.norms.{place}", image).relu()

    noise = torch.randn(3, 9)
    image = functional.linear(noise, weights["start.weight"], weights["start.bias"]).view(3, 5, 2, 2)
    inner: list[Tensor] = []
    for name in ("stages.0", "stages.1"):
        inside = convolved(name, image, 0, f"{name}.enlarge")
        if inner:
            inside = inside + conv(f"{name}.skips.1.1", larger(f"{name}.skips.1.0", inner[0]))
        inner.append(inside)
        short = conv(f"{name}.shortcut.1", larger(f"{name}.shortcut.0", image))
        image = convolved(name, inside, 1, None) + short
    expected = conv("image", normed("norm", image).relu()).tanh()
    torch.testing.assert_close(generator(noise), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("condition", ["concatenate", "norm"])
@pytest.mark.parametrize("kind", ["plain", "cells"])
def test_the_class_changes_what_both_networks_say(condition: str, kind: str) -> None:
    case = Case({"stages": (2,), "generators": (kind,), "condition": condition}, (1, 8, 8), 4)
    for candidate in case.candidates(6):
        torch.manual_seed(0)
        network = case.build(candidate).eval()
        for weight in network.parameters():
            nn.init.normal_(weight, 0.0, 0.5)
        noise = case.inputs(1)[0]
        images = [network(noise, torch.tensor([label])) for label in (0, 3)]
        assert not torch.allclose(*images)
        judged = [network.discriminator(images[0], torch.tensor([label])) for label in (0, 3)]
        assert not torch.allclose(*judged)


@pytest.mark.parametrize("kind", ["plain", "cells"])
def test_discriminators_project_what_they_see_on_the_class(kind: str) -> None:
    """The score of a class, less that of none, is the inner product of its vector and the sum of each channel."""
    case = Case({"stages": (2,), "discriminators": (kind,), "discriminator_norms": ("none",)}, (1, 8, 8), 4)
    candidate = next(one for one in case.candidates(50) if one["objective"] in SCORES)
    judge = case.build(candidate).discriminator.eval()
    image, label = torch.randn(4, 1, 8, 8), torch.tensor([2, 0, 3, 3])
    assert isinstance(judge, PlainDiscriminator | CellDiscriminator)
    assert judge.classes is not None
    scores = judge(image, label)
    vectors = judge.classes.weight.detach().clone()
    nn.init.zeros_(judge.classes.weight)
    seen = judge.encoder(image).sum(dim=(2, 3))
    torch.testing.assert_close(scores - judge(image, label), (vectors[label] * seen).sum(dim=1), rtol=1e-4, atol=1e-5)


def test_spectral_norms_are_the_largest_singular_values() -> None:
    """After enough steps of power iteration every weight has norm 1, and is the one before over its largest value."""
    for kind in ("plain", "cells"):
        options = {"stages": (2,), "discriminators": (kind,), "discriminator_norms": ("spectral",)}
        case = Case({**options, "discriminator_dropouts": (0.0,)}, (1, 8, 8), 4)
        candidate = next(one for one in case.candidates(50) if one["objective"] in SCORES)
        torch.manual_seed(0)
        judge = case.build(candidate).discriminator.train()
        image, label = torch.randn(4, 1, 8, 8), torch.arange(4)
        for _ in range(300):
            judge(image, label)
        judge.eval()
        layers = [m for m in judge.modules() if isinstance(m, nn.Conv2d | nn.Linear | nn.Embedding)]
        assert len(layers) > 3
        for layer in layers:
            original = layer.get_parameter("parametrizations.weight.original").detach()
            largest = torch.linalg.svdvals(original.flatten(1))[0]
            torch.testing.assert_close(layer.weight.detach(), original / largest, rtol=1e-3, atol=1e-5)


def test_spectral_norms_survive_a_file_and_a_copy() -> None:
    case = Case({"stages": (2,), "discriminator_norms": ("spectral",), "discriminator_dropouts": (0.0,)}, (1, 8, 8))
    for candidate in case.candidates(6):
        torch.manual_seed(0)
        first = case.build(candidate).discriminator.train()
        image = torch.randn(4, 1, 8, 8)
        first(image)
        second = case.build(candidate).discriminator.train()
        second.load_state_dict(first.state_dict())
        for _ in range(2):
            assert torch.equal(first(image), second(image))


def test_no_image_changes_what_is_said_of_another_without_batch_normalisation() -> None:
    norms = ("spectral", "none")
    case = Case({"stages": (2,), "discriminator_norms": norms, "discriminator_dropouts": (0.0,)}, (1, 8, 8))
    image = torch.randn(4, 1, 8, 8)
    for candidate in case.candidates(12):
        judge = case.build(candidate).discriminator.train()
        before = {name: tensor.clone() for name, tensor in judge.state_dict().items()}
        first = judge(image)[0]
        judge.load_state_dict(before)  # power iteration moves on with every batch, whatever it is
        other = judge(torch.cat([image[:1], -3 * image[1:]]))[0]
        torch.testing.assert_close(first, other, rtol=1e-4, atol=1e-5)


def test_fewer_stages_make_pixels_that_repeat() -> None:
    case = Case({"stages": (1, 2, 3)}, (1, 16, 16))
    seen = set()
    for candidate in case.candidates(20):
        stages = int(candidate["stages"])
        image = case.build(candidate)(*case.inputs(2))
        factor = 2 ** (3 - stages)
        small = image[:, :, ::factor, ::factor]
        assert torch.equal(small.repeat_interleave(factor, 2).repeat_interleave(factor, 3), image)
        seen.add(stages)
    assert seen == {1, 2, 3}


def test_an_auto_encoder_mirrors_itself() -> None:
    case = Case({"stages": (2,)}, (3, 16, 16))
    candidate = next(one for one in case.candidates(50) if one["objective"] in ENERGIES)
    judge = case.build(candidate).discriminator
    assert isinstance(judge, EnergyDiscriminator)
    layers = [m for m in judge.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    down, up = layers[: len(layers) // 2], layers[len(layers) // 2 :]
    assert down == [*judge.encoder.layers, judge.code]
    assert up == [*judge.layers, judge.image]
    assert [layer.weight.shape for layer in up] == [layer.weight.shape for layer in reversed(down)]
    image = torch.randn(2, 3, 16, 16)
    assert judge.encode(image).shape == (2, 7)
    assert torch.equal(judge.eval()(image), judge.decode(judge.encode(image)))


@pytest.mark.parametrize("name", ["digits of a class", "clothes whose class is in the norms", "small images"])
def test_generators_are_exported_with_a_free_batch(name: str) -> None:
    case = CASES[name]
    batch = torch.export.Dim("batch")
    for kind in ("plain", "cells"):
        candidate = next(one for one in case.candidates(50) if one["generator"] == kind)
        generator = case.build(candidate).generator.eval()
        inputs = case.inputs(2)
        program = torch.export.export(generator, inputs, dynamic_shapes=tuple({0: batch} for _ in inputs))
        for size in (1, 5):
            torch.testing.assert_close(program.module()(*case.inputs(size)), generator(*case.inputs(size)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["digits of a class", "clothes whose class is in the norms", "small images"])
def test_generators_are_converted_to_onnx(name: str) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    case = CASES[name]
    batch = torch.export.Dim("batch")
    plain = (one for one in case.candidates(90) if one["generator"] == "plain")
    cells = (one for one in case.candidates(90) if one["generator"] == "cells")
    for candidate in (*islice(plain, 1), *islice(cells, 3)):
        generator = case.build(candidate).generator.eval()
        inputs = case.inputs(2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            shapes = tuple({0: batch} for _ in inputs)
            program = torch.onnx.export(generator, inputs, dynamo=True, verbose=False, dynamic_shapes=shapes)
        assert program is not None
        session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
        names = [one.name for one in session.get_inputs()]
        for size in (1, 5):
            given = case.inputs(size)
            found = session.run(None, {n: tensor.numpy() for n, tensor in zip(names, given, strict=True)})
            torch.testing.assert_close(torch.from_numpy(found[0]), generator(*given), rtol=1e-3, atol=1e-4)
