"""Auto-encoders: dense, deep, convolutional, variational; a denoising one is any of them under a task with noise.

Decisions:

| name | value | active |
|---|---|---|
| `kind` | one of the option `kinds` | |
| `latent` | how many numbers a code has, out of `latents` | |
| `body` | what a variational one is made of: `deep` or `convolutional` | `kind` is `variational` |
| `depth` | layers before the code, and behind it | `kind` is not `dense` |
| `width<n>` | units of layer n, filters where it is a convolution | `depth` >= n |
| `activation` | behind each layer; in a `dense` one of the code | |
| `batch_norm`, `dropout` | behind each layer before the code, and behind it | `kind` is not `dense` |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, final

from search_spaces.cnn.tally import Shape
from search_spaces.decision import Choice, Decision, DecisionError, When
from search_spaces.decisions import Candidate, Decisions
from search_spaces.gan.counting import Count
from search_spaces.gan.drawing import Drawing
from search_spaces.gan.options import named, rising
from search_spaces.space import Blueprint, Description, Graph, Signature, Space, UnfitError, require

KINDS: Final = ("dense", "deep", "convolutional", "variational")
BODIES: Final = ("deep", "convolutional")
ACTIVATIONS: Final = ("identity", "relu", "leaky_relu", "elu", "gelu", "silu", "tanh", "sigmoid")
OUTPUTS: Final = ("sigmoid", "linear")


@final
@dataclass(frozen=True)
class AutoencoderSpace(Space):
    """Encoders and decoders that mirror each other.

    - `kinds`, `bodies`, `activations`: what to choose from, out of `KINDS`, `BODIES`, `ACTIVATIONS`.
    - `latents`, `depths`, `widths`: rising numbers to choose from.
    - `batch_norm`, `dropouts`: whether, and with which probability a number is dropped.
    - `output`: `sigmoid` (intensities from 0 to 1), or `linear`.
    """

    kinds: Sequence[str] = KINDS
    bodies: Sequence[str] = BODIES
    latents: Sequence[int] = (8, 16, 32)
    depths: Sequence[int] = (1, 2, 3)
    widths: Sequence[int] = (32, 64, 128)
    activations: Sequence[str] = ("relu", "leaky_relu", "elu", "tanh")
    batch_norm: Sequence[bool] = (False, True)
    dropouts: Sequence[float] = (0.0, 0.2)
    output: str = "sigmoid"

    def __post_init__(self) -> None:
        for name, known in (("kinds", KINDS), ("bodies", BODIES), ("activations", ACTIVATIONS)):
            object.__setattr__(self, name, tuple(getattr(self, name)))
            named(name, getattr(self, name), known)
        for name in ("latents", "depths", "widths"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
            rising(name, getattr(self, name))
        for name in ("batch_norm", "dropouts"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if wrong := [one for one in self.dropouts if not 0 <= one < 1]:
            raise DecisionError(f"dropouts has {wrong[0]}, but what is dropped is at least 0 and below 1")
        named("output", (self.output,), OUTPUTS)

    @cached_property
    def decisions(self) -> Decisions:
        layered = When.among("kind", "deep", "convolutional", "variational")
        table: dict[str, Decision] = {
            "kind": Choice(tuple(self.kinds)),
            "latent": Choice(tuple(self.latents), ordered=True),
            "body": Choice(tuple(self.bodies), When.equals("kind", "variational")),
            "depth": Choice(tuple(self.depths), layered, ordered=True),
        }
        for number in range(1, self.depths[-1] + 1):
            table[f"width{number}"] = Choice(tuple(self.widths), When.at_least("depth", number), ordered=True)
        table["activation"] = Choice(tuple(self.activations))
        table["batch_norm"] = Choice(tuple(self.batch_norm), layered)
        table["dropout"] = Choice(tuple(self.dropouts), layered)
        return Decisions(table)

    def check(self, signature: Signature) -> None:
        require(self, signature, "reconstruction", {"image": 3}, {"reconstruction": 3})
        if tuple(signature.inputs["image"]) != tuple(signature.outputs["reconstruction"]):
            raise UnfitError(
                f"a reconstruction has the image's shape, but the task asks for {signature.outputs['reconstruction']} "
                f"of {signature.inputs['image']}: choose another task, or the space image_translation"
            )

    def arguments(self, candidate: Candidate, signature: Signature) -> dict[str, Any]:
        """What the network of `candidate` is built with."""
        kind = candidate["kind"]
        body = {
            "widths": [candidate[f"width{number}"] for number in range(1, int(candidate.get("depth", 0)) + 1)],
            "convolutional": candidate.get("body", kind) == "convolutional",
            "activation": candidate["activation"],
            "batch_norm": candidate.get("batch_norm", False),
            "dropout": candidate.get("dropout", 0.0),
        }
        return {
            "image": list(signature.inputs["image"]),
            "latent": candidate["latent"],
            "body": body,
            "variational": kind == "variational",
            "output": self.output,
        }

    def blueprint(self, candidate: Candidate, signature: Signature) -> Blueprint:
        self.check(signature)
        return Blueprint("search_spaces.gan.autoencoder_network:Autoencoder", self.arguments(candidate, signature))

    def describe(self, candidate: Candidate, signature: Signature) -> Description:
        arguments = self.arguments(candidate, signature)
        count, body = Count(), arguments["body"]
        codes = arguments["latent"] * (2 if arguments["variational"] else 1)
        image = Shape(*arguments["image"])
        maps = [image if body["convolutional"] else Shape(image.elements, 1, 1)]
        for width in body["widths"]:
            maps.append(_behind(count, _layer(count, maps[-1], width, body), body))
        code = count.linear(maps[-1], codes)
        if not body["widths"]:
            code = count.activation(code, "identity" if arguments["variational"] else body["activation"])
        found = Shape(arguments["latent"], 1, 1) if arguments["variational"] else code
        if arguments["variational"]:
            count.activation_bytes += 4 * 5 * arguments["latent"]  # of the divergence and of the draw
        _decoded(count, found, maps, body, self.output)
        graph = _graph(arguments)
        return Description(count.parameters, count.multiply_adds, count.activation_bytes, {"network": graph})


def _layer(count: Count, image: Shape, width: int, body: Mapping[str, Any]) -> Shape:
    """A layer of the encoder."""
    if body["convolutional"]:
        return count.convolution(image, width, 3, 2, 1, bias=not body["batch_norm"])
    return count.linear(image, width, bias=not body["batch_norm"])


def _behind(count: Count, image: Shape, body: Mapping[str, Any]) -> Shape:
    if body["batch_norm"]:
        image = count.norm(image)
    return count.dropout(count.activation(image, body["activation"]), body["dropout"])


def _decoded(count: Count, code: Shape, maps: Sequence[Shape], body: Mapping[str, Any], output: str) -> None:
    """The decoder, whose layers give maps of the shapes of `maps`, the encoder's, in reverse."""
    wanted = list(reversed(maps))
    if body["convolutional"]:
        first = Shape(wanted[0].channels, wanted[0].height, wanted[0].width)
        count.linear(code, first.elements)
        found = count.activation(first, body["activation"])
        for place, shape in enumerate(wanted[1:], 2):
            last = place == len(wanted)
            size, bias = (shape.height, shape.width), last or not body["batch_norm"]
            found = count.transposed(found, shape.channels, 3, size, bias)
            if not last:
                found = _behind(count, found, body)
    else:
        found = code
        for shape in wanted[:-1] if body["widths"] else ():
            found = _behind(count, count.linear(found, shape.channels, bias=not body["batch_norm"]), body)
        found = count.linear(found, wanted[-1].elements)
    count.activation(found, "sigmoid" if output == "sigmoid" else "identity")


def _graph(arguments: Mapping[str, Any]) -> Graph:
    drawing, body = Drawing(), arguments["body"]
    layer, back = ("convolution 3x3", "transposed 3x3") if body["convolutional"] else ("linear", "linear")
    stride = " /2" if body["convolutional"] else ""
    norm = ", batch norm" if body["batch_norm"] else ""
    last = drawing.add("image", "image")
    for number, width in enumerate(body["widths"], 1):
        last = drawing.add(f"encoder{number}", f"{layer} {width}{stride}{norm}, {body['activation']}", last)
    if arguments["variational"]:
        mean = drawing.add("mean", f"linear {arguments['latent']}", last)
        spread = drawing.add("log_variance", f"linear {arguments['latent']}", last)
        last = drawing.add("code", f"draw {arguments['latent']}", mean, spread)
    else:
        last = drawing.add("code", f"linear {arguments['latent']}", last)
    for number, width in reversed(list(enumerate(body["widths"], 1))):
        last = drawing.add(f"decoder{number}", f"{back} {width}{stride}{norm}, {body['activation']}", last)
    drawing.add("reconstruction", arguments["output"], last)
    return drawing.graph()
