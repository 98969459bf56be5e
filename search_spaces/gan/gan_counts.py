"""The costs of a generator and its discriminator from their blueprints' arguments, without torch; mirrors both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from search_spaces.cnn.tally import Shape
from search_spaces.gan.counting import Count


def generated(given: Mapping[str, Any]) -> Count:
    """What one image costs the generator with these arguments."""
    count, label = Count(), given["label"]
    if label:
        count.activation_bytes += 8  # the number of the class
        count.parameters += label["classes"] * label["embedding"]
    noise = Shape(given["noise"] + (label["embedding"] if label else 0), 1, 1)
    image = _plain(count, given, noise) if "widths" in given else _cells(count, given, noise)
    count.keep(image)  # tanh reads its output
    return count


def judged(given: Mapping[str, Any]) -> int:
    """The parameters of the discriminator with these arguments."""
    channels, biased = given["channels"], given["norm"] != "batch"
    if "pools" in given:
        width, cells = given["width"], given["pools"]
        inner = sum(_cell(channels if number == 0 else width, width, given, number) for number in range(len(cells)))
        return int(inner + width + given["classes"] * width)
    widths, (height, width) = given["widths"], given["base"]
    encoder = _ladder([channels, *widths], 16, biased) + (0 if biased else 2 * sum(widths[1:]))
    last = widths[-1] * height * width
    if "classes" in given:
        return int(encoder + last + biased + given["classes"] * widths[-1])
    code, label = given["code"], given["label"]
    read = code + (label["embedding"] if label else 0)
    decoder = read * last + biased * widths[-1] + _ladder([*reversed(widths), channels], 16, biased)
    decoder += (0 if biased else 2 * sum(widths)) + (label["classes"] * label["embedding"] if label else 0)
    return int(encoder + last * code + biased * code + decoder)


def _ladder(widths: Sequence[int], kernel: int, biased: bool) -> int:
    """The parameters of convolutions from each of the `widths` to the next, with `kernel` weights per pair."""
    return sum(before * width * kernel + biased * width for before, width in pairwise(widths))


def _cell(inputs: int, width: int, given: Mapping[str, Any], number: int) -> int:
    """The parameters of a discriminator's cell."""
    found = _ladder([inputs, width, width], 9, biased=True)
    if given["pools"][number] or inputs != width:
        found += _ladder([inputs, width], 1, biased=True)
    if given["norm"] == "batch":
        found += 2 * width + (2 * inputs if number else 0)
    return found


def _plain(count: Count, given: Mapping[str, Any], noise: Shape) -> Shape:
    height, width = given["base"]
    count.linear(noise, given["widths"][0] * height * width, bias=False)
    image = _active(count, Shape(given["widths"][0], height, width), "batch", given["label"])
    for filters in given["widths"][1:]:
        image = _active(count, _doubled(count, image, filters, 4, bias=False), "batch", given["label"])
    return _doubled(count, image, given["channels"], 4, bias=False)


def _cells(count: Count, given: Mapping[str, Any], noise: Shape) -> Shape:
    height, width = given["base"]
    count.linear(noise, given["width"] * height * width)
    image = Shape(given["width"], height, width)
    inner: list[Shape] = []
    for stage, cell in enumerate(given["cells"], start=1):
        middle = _convolved(count, image, cell, given["label"], doublings=1)
        for source in cell["skips"]:
            _reached(count, inner[source - 1], cell, stage - source)
            middle = Shape(middle.channels, middle.height, middle.width)
        inner.append(middle)
        outer = _convolved(count, middle, cell, given["label"], doublings=0)
        if cell["shortcut"]:
            _reached(count, image, cell, 1)
            outer = Shape(outer.channels, outer.height, outer.width)
        image = outer
    return count.convolution(_active(count, image, "batch", given["label"]), given["channels"], 3, 1, 1, bias=True)


def _convolved(
    count: Count, image: Shape, cell: Mapping[str, Any], label: Mapping[str, int] | None, doublings: int
) -> Shape:
    if cell["order"] == "pre":
        image = _active(count, image, cell["norm"], label)
    image = _enlarged(count, image, cell, doublings)
    image = count.convolution(image, image.channels, 3, 1, 1, bias=True)
    return image if cell["order"] == "pre" else _active(count, image, cell["norm"], label)


def _reached(count: Count, image: Shape, cell: Mapping[str, Any], doublings: int) -> None:
    """A map through what brings it to another stage."""
    enlarged = _enlarged(count, image, cell, doublings)
    count.convolution(enlarged, image.channels, 1, 1, 0, bias=True)


def _enlarged(count: Count, image: Shape, cell: Mapping[str, Any], doublings: int) -> Shape:
    for _ in range(doublings):
        if cell["upsampling"] == "transposed":
            image = _doubled(count, image, image.channels, 2, bias=True)
        else:
            image = Shape(image.channels, 2 * image.height, 2 * image.width)
    return image


def _doubled(count: Count, image: Shape, filters: int, kernel: int, bias: bool) -> Shape:
    return count.transposed(image, filters, kernel, (2 * image.height, 2 * image.width), bias)


def _active(count: Count, image: Shape, norm: str, label: Mapping[str, int] | None) -> Shape:
    """A map behind its normalisation, the gain and shift of its class, and ReLU."""
    by_class = label is not None and not label["embedding"]
    if norm != "none":
        image = count.norm(image, affine=norm == "batch" and not by_class)
    if label is not None and by_class:
        count.parameters += 2 * label["classes"] * image.channels
        count.keep(image)
        count.activation_bytes += 4 * image.channels
    return count.activation(Shape(image.channels, image.height, image.width), "relu")
