"""CellSpace: what the spaces of stacked cells share, from a candidate's cells to the whole network."""

from __future__ import annotations

import difflib
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from search_spaces.cnn import cell_counts
from search_spaces.cnn.cells import Cell
from search_spaces.cnn.layouts import Layout
from search_spaces.cnn.published import network_blueprint
from search_spaces.decision import DecisionError
from search_spaces.decisions import Candidate
from search_spaces.space import Blueprint, Description, Signature, Space, UnfitError, require
from search_spaces.supernet import CellShares, Share

Stem = Literal["cifar", "imagenet"]

KNOWN_OPERATIONS = (
    "none",
    "identity",
    "convolution_1x1",
    "convolution_3x3",
    "factorized_3x3",
    "factorized_7x7",
    "dilated_3x3",
    "dilated_separable_3x3",
    "dilated_separable_5x5",
    "separable_3x3",
    "separable_5x5",
    "separable_7x7",
    "average_pool_3x3",
    "max_pool_3x3",
    "max_pool_5x5",
    "max_pool_7x7",
)


@dataclass(frozen=True)
class CellSpace(Space):
    """Options of a network of stacked cells for `image_classification`.

    - `operations`: what a half block can be, out of `KNOWN_OPERATIONS`.
    - `cells`: how often the cell is repeated per stage (in DARTS: the number of all cells).
    - `filters`: of the first stage; they double at each of the `reductions`.
    - `stem`: `cifar` for small images; `imagenet` halves the image three times before the first stage, once by a
      convolution, twice by cells. `stem_multiplier`: the stem has that many times `filters` (`imagenet`: times 32).
    - `drop_path`: the probability to drop an operation's output at the end of training; papers often give what is kept.
    - `dropout`: the probability to drop a feature before the classifier.
    - `auxiliary`: a second classifier on an inner map, whose loss counts as much as the task's recipe says.
    """

    operations: Sequence[str] = ()
    cells: int = 2
    filters: int = 24
    reductions: int = 2
    stem: Stem = "cifar"
    stem_multiplier: float = 3.0
    drop_path: float = 0.0
    dropout: float = 0.0
    auxiliary: bool = False

    code = "tensorflow"

    def __post_init__(self) -> None:
        object.__setattr__(self, "operations", tuple(self.operations))
        if not self.operations or len(set(self.operations)) < len(self.operations):
            raise DecisionError(f"operations is {list(self.operations)}, but must name at least one, and none twice")
        for operation in self.operations:
            if operation not in KNOWN_OPERATIONS:
                near = difflib.get_close_matches(operation, KNOWN_OPERATIONS, n=1)
                hint = f"did you mean {near[0]}? " if near else ""
                raise DecisionError(f"{operation!r} is no operation: {hint}there are {', '.join(KNOWN_OPERATIONS)}")
        if self.stem not in get_args(Stem):
            raise DecisionError(f"stem is {self.stem!r}, but must be one of {', '.join(get_args(Stem))}")
        for name, least in (("cells", 1), ("filters", 1), ("reductions", 0)):
            if getattr(self, name) < least:
                raise DecisionError(f"{name} is {getattr(self, name)}, but must be at least {least}")
        if self.stem_filters < 1:
            raise DecisionError(f"stem_multiplier is {self.stem_multiplier}, which leaves the stem without filters")
        for name in ("drop_path", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise DecisionError(
                    f"{name} is {getattr(self, name)}, but must be at least 0 and below 1: it is what is dropped"
                )

    @abstractmethod
    def cells_of(self, candidate: Candidate) -> dict[str, Cell]:
        """The cells that `candidate` describes, by kind."""

    @property
    @abstractmethod
    def layout(self) -> Layout:
        """How the cells are stacked."""

    @property
    def stem_filters(self) -> int:
        return int(self.stem_multiplier * (self.filters if self.stem == "cifar" else 32))

    def blueprint(self, candidate: Candidate, signature: Signature) -> Blueprint:
        self.check(signature)
        options = {
            "stem": self.stem,
            "stem_filters": self.stem_filters,
            "code": self.code,
            "drop_path": self.drop_path,
            "dropout": self.dropout,
            "auxiliary": self.auxiliary,
        }
        (classes,) = signature.outputs["logits"]
        image = signature.inputs["image"]
        return network_blueprint(image, classes, self.cells_of(candidate), self.layout, options)

    @property
    def shareable(self) -> bool:
        return True

    def shares(self, blueprint: Blueprint, parameters: Iterable[str]) -> Mapping[str, Share]:
        found = CellShares(blueprint.arguments)
        return {parameter: found.of(parameter) for parameter in parameters}

    def describe(self, candidate: Candidate, signature: Signature) -> Description:
        return cell_counts.describe(self.blueprint(candidate, signature).arguments)

    def check(self, signature: Signature) -> None:
        check_images(self, signature)
        layout = self.layout
        image = signature.inputs["image"]
        sizes = [stem_size(min(image[1:]), self.stem)]
        for row in layout.rows:
            size = sizes[row.current]
            if size < row.stride:
                raise UnfitError(
                    f"images of {image[1]}x{image[2]} are too small to be halved that often: "
                    f"set reductions below {self.reductions}" + (", or stem: cifar" if self.stem != "cifar" else "")
                )
            sizes.append(-(-size // row.stride))
            shrinks = row.previous is not None and layout.halvings[row.previous] < layout.halvings[row.current]
            if shrinks and row.filters % 2:
                raise UnfitError(
                    f"filters is {self.filters}, but a factorized reduction to {row.filters} filters needs an even "
                    f"number: set filters to a multiple of {4 if self.stem == 'imagenet' else 2}"
                )
        if self.auxiliary and (layout.auxiliary is None or sizes[layout.auxiliary] < 5):
            where = "there is no reduction" if layout.auxiliary is None else f"it is {sizes[layout.auxiliary]} wide"
            raise UnfitError(f"the auxiliary head needs a map of at least 5x5, but {where}: set auxiliary: false")


def check_images(space: Space, signature: Signature) -> None:
    """Raise `UnfitError` unless `signature` is that of image classification."""
    require(space, signature, "image_classification", {"image": 3}, {"logits": 1})


def stem_size(size: int, stem: Stem) -> int:
    """How long a side of `size` pixels is after the stem's convolution (before its cells); below 1: impossible."""
    return size if stem == "cifar" else (size - 3) // 2 + 1
