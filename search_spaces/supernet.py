"""Where the parameters of a cell network are in the supernet of its space, by names that no child changes.

One supernet holds the weights of every network of a space (ENAS, Pham et al. 2018: https://arxiv.org/abs/1802.03268). A
piece of it belongs to a place: a cell of the stack, a block of it, the state that is read, the operation; as in ENAS'
published code, but that the halves of a block are not told apart, for they are added, and their order says nothing. A
name ends as torch's does: `cells.2.block1.from0.separable_3x3.1.weight`.

What a child decides about shapes goes into the names. A block that concatenates its halves has a state of its own
(`from2.concat`), twice as wide. The 1x1 convolution behind a cell's output, which is the concatenation of as many
blocks as the child leaves loose, consists of one piece per block (`cells.3.adjust.1.weight/block2`), side by side along
its input channels; so does the classifier's weight. The network itself stays exactly the stand-alone one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from search_spaces.cnn.cells import INPUTS


@final
@dataclass(frozen=True, slots=True)
class Share:
    """A parameter of a child, as tensors of the supernet: one, or several side by side along axis 1.

    `sizes` has how long each of several is along that axis; it is empty where one is the whole.
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...] = ()


@final
class CellShares:
    """The shares of a `CellNetwork` that is built from `arguments`."""

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        self.cells: Mapping[str, Mapping[str, Any]] = arguments["cells"]
        self.rows: Sequence[Sequence[Any]] = arguments["layout"]
        self.stem = int(arguments["stem"]["filters"])
        self.auxiliary: int | None = arguments["options"]["auxiliary"]

    def of(self, parameter: str) -> Share:
        """The share of the network's parameter with this name."""
        head, *rest = parameter.split(".")
        if head == "cells":
            return self._in_cell(int(rest[0]), parameter, rest[1:])
        if parameter == "classifier.weight":
            return self._joined(parameter, len(self.rows))
        if parameter == "auxiliary.layers.2.weight" and self.auxiliary is not None:
            return self._joined(parameter, self.auxiliary)
        return Share((parameter,))

    def _in_cell(self, index: int, parameter: str, rest: Sequence[str]) -> Share:
        _, _, _, current, previous = self.rows[index]
        part, *further = rest
        if part == "blocks":
            return Share((self._in_block(index, int(further[0]), further[1], further[2:]),))
        if part == "adjust" and further == ["1", "weight"]:
            return self._joined(parameter, current)
        if part == "adjust_previous" and further in (["1", "weight"], ["straight", "weight"], ["shifted", "weight"]):
            return self._joined(parameter, previous)
        return Share((parameter,))

    def _in_block(self, index: int, block: int, side: str, rest: Sequence[str]) -> str:
        blocks = self.cells[self.rows[index][0]]["blocks"]
        operation1, input1, operation2, input2, _ = blocks[block]
        operation, state = (operation1, input1) if side == "left" else (operation2, input2)
        wide = state >= INPUTS and blocks[state - INPUTS][4] == "concat"
        twin = side == "right" and (operation1, input1) == (operation2, input2)
        source = f"from{state}" + (".concat" if wide else "")
        return ".".join([f"cells.{index}.block{block + 1}.{source}.{operation}", *(["twin"] if twin else []), *rest])

    def _joined(self, parameter: str, number: int) -> Share:
        """A weight whose inputs are the channels of map `number`."""
        if number == 0:
            return Share((parameter,))
        kind, filters, *_ = self.rows[number - 1]
        cell = self.cells[kind]
        names, sizes = [], []
        for state in cell["concat"]:
            wide = state >= INPUTS and cell["blocks"][state - INPUTS][4] == "concat"
            source = f"block{state - 1}" if state >= INPUTS else f"state{state}"
            names.append(f"{parameter}/{source}" + (".concat" if wide else ""))
            sizes.append(2 * filters if wide else filters)
        return Share(tuple(names), tuple(sizes))
