"""What the networks of a translation cost and how they look, by their arguments, without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from search_spaces.cnn.tally import Shape
from search_spaces.gan.counting import Count
from search_spaces.gan.drawing import Drawing
from search_spaces.space import Description

WIDEST: Final = 8  # times the width of the first layer
DROPPED: Final = 3  # innermost layers of a U-Net's decoder behind which is dropped


def described(arguments: Mapping[str, Any]) -> Description:
    """Parameters of all networks, costs of the generator's forward pass, and a drawing of generator and judge."""
    count, drawing, kind = Count(), Drawing(), arguments["kind"]
    last = _translator(count, drawing, kind, arguments["generator"])
    parameters = count.parameters + _judge(arguments["discriminator"])
    if "back" in arguments:
        other = Count()
        _translator(other, Drawing(), kind, arguments["back"])
        parameters += other.parameters + _judge(arguments["back_discriminator"])
    _draw_judge(drawing, arguments["discriminator"], last, arguments["generator"])
    graphs = {"network": drawing.graph()}
    return Description(parameters, count.multiply_adds, count.activation_bytes, graphs)


def _translator(count: Count, drawing: Drawing, kind: str, given: Mapping[str, Any]) -> str:
    if kind == "unet":
        return _unet(count, drawing, given)
    return _residual(count, drawing, given)


def _told(drawing: Drawing, given: Mapping[str, Any]) -> tuple[Shape, tuple[str, ...]]:
    """What a generator reads, with a plane for each domain; the nodes that give it."""
    channels, height, width = given["image"]
    nodes = [drawing.add("image", "image")]
    if given["domains"]:
        nodes.append(drawing.add("domain", "domain"))
    return Shape(channels + given["domains"], height, width), tuple(nodes)


def _normed(count: Count, image: Shape, norm: str) -> Shape:
    return image if norm == "none" else count.norm(image, affine=norm != "instance")


def _unet(count: Count, drawing: Drawing, given: Mapping[str, Any]) -> str:
    image, nodes = _told(drawing, given)
    norm, widths = given["norm"], given["widths"]
    bias, depth = norm in ("instance", "none"), len(widths)
    maps, names = [image], ["image"]
    for place, filters in enumerate(widths):
        found = count.activation(maps[-1], "leaky_relu") if place else maps[-1]
        found = count.convolution(found, filters, 4, 2, 1, bias)
        maps.append(_normed(count, found, norm) if 0 < place < depth - 1 else found)
        names.append(drawing.add(f"down{place + 1}", f"convolution 4x4 {filters} /2", *nodes))
        nodes = (names[-1],)
    found, last = maps.pop(), names.pop()
    for place in reversed(range(depth)):
        nodes = (last,)
        if place < depth - 1 and given["skips"]:
            skipped = maps[place + 1]
            found = Shape(found.channels + skipped.channels, found.height, found.width)
            nodes = (names[place + 1], last)
        filters = widths[place - 1] if place else given["outputs"]
        size = (maps[place].height, maps[place].width)
        found = count.transposed(count.activation(found, "relu"), filters, 4, size, bias or not place)
        last = drawing.add(f"up{place + 1}", f"transposed 4x4 {filters} x2", *nodes)
        if place:
            found = _normed(count, found, norm)
            found = count.dropout(found, given["dropout"] if depth - place <= DROPPED else 0.0)
    count.activation(found, "tanh")
    return drawing.add("translated", "tanh", last)


def _residual(count: Count, drawing: Drawing, given: Mapping[str, Any]) -> str:
    image, nodes = _told(drawing, given)
    norm, widths, domains = given["norm"], given["widths"], given["domains"]
    kernel, bias = 4 if domains else 3, norm in ("instance", "none")
    image.kept = not domains  # the mirrored copy is; no gradient goes to the image itself
    found = count.activation(_normed(count, _bordered(count, image, widths[0], 7, domains, bias), norm), "relu")
    last = drawing.add("first", f"convolution 7x7 {widths[0]}", *nodes)
    sizes = [(found.height, found.width)]
    for number, width in enumerate(widths[1:], 1):
        found = _normed(count, count.convolution(found, width, kernel, 2, 1, bias), norm)
        found = count.activation(found, "relu")
        sizes.append((found.height, found.width))
        last = drawing.add(f"down{number}", f"convolution {kernel}x{kernel} {width} /2", last)
    width = widths[-1]
    for number in range(1, given["blocks"] + 1):
        inner = _bordered(count, found, width, 3, domains, bias)
        inner = count.dropout(count.activation(_normed(count, inner, norm), "relu"), given["dropout"])
        inner = _normed(count, _bordered(count, inner, width, 3, domains, bias), norm)
        found = Shape(inner.channels, inner.height, inner.width)
        last = drawing.add(f"block{number}", f"residual 3x3 {width}", last)
    for number in reversed(range(1, len(widths))):
        width, size = widths[number - 1], sizes[number - 1]
        found = _normed(count, count.transposed(found, width, kernel, size, bias), norm)
        found = count.activation(found, "relu")
        last = drawing.add(f"up{number}", f"transposed {kernel}x{kernel} {width} x2", last)
    found = _bordered(count, found, given["outputs"], 7, domains, not domains)
    count.activation(found, "tanh")
    return drawing.add("translated", f"convolution 7x7 {given['outputs']}, tanh", last)


def _bordered(count: Count, image: Shape, filters: int, kernel: int, domains: int, bias: bool) -> Shape:
    """A convolution that keeps height and width."""
    if domains:
        return count.convolution(image, filters, kernel, 1, kernel // 2, bias)
    return count.convolution(count.reflected(image, kernel // 2), filters, kernel, 1, 0, bias)


def _widths(given: Mapping[str, Any]) -> Sequence[int]:
    if "domains" in given:
        return [int(given["width"]) * 2**place for place in range(given["layers"])]
    return [int(given["width"]) * min(2**place, WIDEST) for place in range(given["layers"] + 1)]


def _judge(given: Mapping[str, Any]) -> int:
    """Parameters of a discriminator."""
    widths, inputs, total = _widths(given), int(given["inputs"]), 0
    for place, width in enumerate(widths):
        plain = "domains" in given or not place or given["norm"] != "batch"
        total += 16 * inputs * width + (width if plain else 0)
        if "domains" not in given and place and given["norm"] in ("batch", "affine"):
            total += 2 * width
        inputs = width
    if "domains" not in given:
        return total + 16 * inputs + 1
    height, width = (int(side) >> int(given["layers"]) for side in given["size"])
    return total + 9 * inputs + inputs * int(given["domains"]) * height * width


def _draw_judge(drawing: Drawing, given: Mapping[str, Any], last: str, generator: Mapping[str, Any]) -> None:
    """The discriminator behind what it judges; a conditional one reads what that was made from, too."""
    sources = [last]
    if given["inputs"] > generator["outputs"]:
        sources.append("image")
    nodes = tuple(sources)
    strided = given["layers"]
    for place, width in enumerate(_widths(given)):
        stride = " /2" if place < strided else ""
        nodes = (drawing.add(f"judge{place + 1}", f"convolution 4x4 {width}{stride}", *nodes),)
    drawing.add("score", "score per patch", *nodes)
    if "domains" in given:
        drawing.add("named", f"{given['domains']} domains", *nodes)
