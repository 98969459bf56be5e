"""The graphs of a generator and its discriminator, from their blueprints' arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from search_spaces.gan.drawing import Drawing
from search_spaces.space import Graph


def graphs(generator: Mapping[str, Any], discriminator: Mapping[str, Any]) -> dict[str, Graph]:
    """`network` has both, one behind the other; `generator` and `discriminator` are drawn alone as well."""
    both, first, second = Drawing(), Drawing(), Drawing()
    _generator(first, generator)
    second.add("image", "image")
    labelled = bool(generator["label"])
    _discriminator(second, discriminator, "image", labelled and second.add("label", "label"))
    image = _generator(both, generator)
    _discriminator(both, discriminator, image, labelled and "label")
    return {"network": both.graph(), "generator": first.graph(), "discriminator": second.graph()}


def _generator(drawing: Drawing, given: Mapping[str, Any]) -> str:
    """Draw a generator; the name of what makes its image."""
    read = [drawing.add("noise", f"noise of {given['noise']}")]
    if given["label"]:
        read.append(drawing.add("label", "label"))
    height, width = given["base"]
    first = given["widths"][0] if "widths" in given else given["width"]
    read = [drawing.add("start", f"map of {first} x {height} x {width}", *read)]
    if "widths" in given:
        for number, filters in enumerate(given["widths"][1:], start=1):
            read = [drawing.add(f"stage{number}", f"transposed convolution 4x4 {filters} /2", *read)]
    else:
        for number, cell in enumerate(given["cells"], start=1):
            sources = [f"stage{source}" for source in cell["skips"] if f"stage{source}" not in read]
            read = [drawing.add(f"stage{number}", _label(cell), *read, *sources)]
    stages = len(given["widths"] if "widths" in given else given["cells"])
    sides = " x ".join(str(side << stages) for side in given["base"])
    repeated = f", pixels x{given['enlarge']}" if given["enlarge"] > 1 else ""
    return drawing.add("generated", f"image of {given['channels']} x {sides}{repeated}", *read)


def _label(cell: Mapping[str, Any]) -> str:
    norm = "" if cell["norm"] == "none" else f", {cell['norm']} norm"
    shortcut = ", shortcut" if cell["shortcut"] else ""
    skips = "".join(f", skip from {source}" for source in cell["skips"])
    return f"{cell['upsampling']} x2, {cell['order']}-activation{norm}{shortcut}{skips}"


def _discriminator(drawing: Drawing, given: Mapping[str, Any], image: str, label: str | bool) -> None:
    read = image
    norm = "" if given["norm"] == "none" else f", {given['norm']} norm"
    if "pools" in given:
        for number, pool in enumerate(given["pools"], start=1):
            name = f"cell of {given['width']}" + norm + (f", {pool} pool /2" if pool else "")
            read = drawing.add(f"seen{number}", name, read)
    else:
        for number, filters in enumerate(given["widths"], start=1):
            name = f"convolution 4x4 {filters} /2" + (norm if number > 1 or norm == ", spectral norm" else "")
            read = drawing.add(f"seen{number}", name, read)
    conditions = [label] if isinstance(label, str) else []
    if "code" not in given:
        drawing.add("score", "score", read, *conditions)
        return
    read = drawing.add("code", f"code of {given['code']}", read)
    for number, filters in enumerate(reversed(given["widths"]), start=1):
        read = drawing.add(f"decoded{number}", f"transposed convolution {filters}", read, *conditions)
        conditions = []
    drawing.add("reconstruction", "reconstruction", read)
