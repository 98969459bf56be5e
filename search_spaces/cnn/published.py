"""Published networks as data: their cells, and functions that give their blueprints.

Sources: Zoph et al. 2018 (NASNet-A), Liu et al. 2018 (PNASNet-5), Liu et al. 2019 (DARTS_V2), Real et al. 2019
(AmoebaNet-A, in the form that DARTS' code gives it); sizes and concatenations as in the code published with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from search_spaces.cnn.cells import Block, Cell
from search_spaces.cnn.layouts import Layout, inserted, replaced, spread
from search_spaces.space import Blueprint

NETWORK = "search_spaces.cnn.cell_network:CellNetwork"

NASNET_A: Mapping[str, Cell] = {
    "normal": Cell(
        (
            Block("separable_5x5", 0, "separable_3x3", 1),
            Block("separable_5x5", 1, "separable_3x3", 1),
            Block("average_pool_3x3", 0, "identity", 1),
            Block("average_pool_3x3", 1, "average_pool_3x3", 1),
            Block("separable_3x3", 0, "identity", 0),
        ),
        (1, 2, 3, 4, 5, 6),
    ),
    "reduction": Cell(
        (
            Block("separable_5x5", 0, "separable_7x7", 1),
            Block("max_pool_3x3", 0, "separable_7x7", 1),
            Block("average_pool_3x3", 0, "separable_5x5", 1),
            Block("identity", 3, "average_pool_3x3", 2),
            Block("separable_3x3", 2, "max_pool_3x3", 0),
        ),
        (3, 4, 5, 6),
    ),
}

PNASNET_5: Mapping[str, Cell] = {
    "cell": Cell(
        (
            Block("separable_5x5", 1, "max_pool_3x3", 1),
            Block("separable_7x7", 0, "max_pool_3x3", 0),
            Block("separable_5x5", 0, "separable_3x3", 0),
            Block("separable_3x3", 4, "max_pool_3x3", 0),
            Block("separable_3x3", 1, "identity", 0),
        ),
        (2, 3, 4, 5, 6),
    ),
}

DARTS_V2: Mapping[str, Cell] = {
    "normal": Cell(
        (
            Block("separable_3x3", 1, "separable_3x3", 0),
            Block("separable_3x3", 1, "separable_3x3", 0),
            Block("separable_3x3", 0, "identity", 1),
            Block("identity", 1, "dilated_separable_3x3", 2),
        ),
        (2, 3, 4, 5),
    ),
    "reduction": Cell(
        (
            Block("max_pool_3x3", 1, "max_pool_3x3", 0),
            Block("identity", 2, "max_pool_3x3", 0),
            Block("max_pool_3x3", 1, "identity", 2),
            Block("identity", 2, "max_pool_3x3", 0),
        ),
        (2, 3, 4, 5),
    ),
}

AMOEBANET_A: Mapping[str, Cell] = {
    "normal": Cell(
        (
            Block("average_pool_3x3", 1, "max_pool_3x3", 0),
            Block("separable_3x3", 1, "separable_5x5", 2),
            Block("separable_3x3", 1, "average_pool_3x3", 3),
            Block("separable_3x3", 0, "identity", 0),
            Block("identity", 1, "average_pool_3x3", 0),
        ),
        (4, 5, 6),
    ),
    "reduction": Cell(
        (
            Block("average_pool_3x3", 1, "separable_3x3", 0),
            Block("max_pool_3x3", 1, "separable_7x7", 2),
            Block("separable_7x7", 1, "average_pool_3x3", 0),
            Block("max_pool_3x3", 1, "max_pool_3x3", 0),
            Block("factorized_7x7", 1, "separable_3x3", 5),
        ),
        (3, 4, 6),
    ),
}


def network_blueprint(
    image: tuple[int, ...], classes: int, cells: Mapping[str, Cell], layout: Layout, options: Mapping[str, Any]
) -> Blueprint:
    """The stacked network; `options`: stem, stem_filters, and those of `CellNetwork` (defaults: plain, no extras)."""
    stem = {"kind": options.get("stem", "cifar"), "filters": options["stem_filters"]}
    further = {
        "code": options.get("code", "tensorflow"),
        "epsilon": options.get("epsilon", 1e-5 if stem["kind"] == "cifar" else 1e-3),
        "drop_path": options.get("drop_path", 0.0),
        "dropout": options.get("dropout", 0.0),
        "auxiliary": layout.auxiliary if options.get("auxiliary") else None,
    }
    arguments = {
        "image": list(image),
        "classes": classes,
        "stem": stem,
        "cells": {kind: cell.json() for kind, cell in cells.items()},
        "layout": layout.json(),
        "options": further,
    }
    return Blueprint(NETWORK, arguments)


def nasnet_a_cifar(classes: int = 10, auxiliary: bool = False) -> Blueprint:
    """NASNet-A (6 @ 768) for 32x32 images: 3,346,538 parameters."""
    options = {"stem_filters": 96, "drop_path": 0.4, "auxiliary": auxiliary}
    return network_blueprint((3, 32, 32), classes, NASNET_A, inserted(6, 32, 2, imagenet=False), options)


def nasnet_a_mobile(classes: int = 1000, auxiliary: bool = False, size: int = 224) -> Blueprint:
    """NASNet-A mobile (4 @ 1056): 5,289,978 parameters with 1,000 classes."""
    options = {"stem": "imagenet", "stem_filters": 32, "dropout": 0.5, "auxiliary": auxiliary}
    return network_blueprint((3, size, size), classes, NASNET_A, inserted(4, 44, 2, imagenet=True), options)


def nasnet_a_large(
    classes: int = 1000, auxiliary: bool = False, size: int = 331, code: str = "tensorflow"
) -> Blueprint:
    """NASNet-A large (6 @ 4032): 88,753,150 parameters with 1,000 classes; `code="timm"`: as timm's port pools."""
    options = {"stem": "imagenet", "stem_filters": 96, "drop_path": 0.3, "dropout": 0.5}
    layout = inserted(6, 168, 2, imagenet=True, hand_on=True)
    return network_blueprint(
        (3, size, size), classes, NASNET_A, layout, {**options, "code": code, "auxiliary": auxiliary}
    )


def pnasnet_5_cifar(classes: int = 10, auxiliary: bool = False) -> Blueprint:
    """PNASNet-5 (N=3, F=48) for 32x32 images: nine cells, 3,189,082 parameters."""
    options = {"stem_filters": 144, "drop_path": 0.4, "auxiliary": auxiliary}
    return network_blueprint((3, 32, 32), classes, PNASNET_5, replaced(3, 48, 2, imagenet=False), options)


def pnasnet_5_large(classes: int = 1000, auxiliary: bool = False, size: int = 331) -> Blueprint:
    """PNASNet-5 large (N=4, F=216): 86,057,668 parameters with 1,000 classes."""
    options = {"stem": "imagenet", "stem_filters": 96, "drop_path": 0.4, "dropout": 0.5, "auxiliary": auxiliary}
    return network_blueprint((3, size, size), classes, PNASNET_5, replaced(4, 216, 2, imagenet=True), options)


def darts_v2_cifar(classes: int = 10, auxiliary: bool = False) -> Blueprint:
    """DARTS_V2 (C=36, 20 cells) for 32x32 images: 3,349,342 parameters."""
    return _darts_code(DARTS_V2, 36, classes, auxiliary)


def amoebanet_a_cifar(classes: int = 10, auxiliary: bool = False) -> Blueprint:
    """AmoebaNet-A as DARTS' code stacks it (C=36, 20 cells) for 32x32 images: 3,145,078 parameters."""
    return _darts_code(AMOEBANET_A, 36, classes, auxiliary)


def _darts_code(cells: Mapping[str, Cell], filters: int, classes: int, auxiliary: bool) -> Blueprint:
    options = {"code": "darts", "stem_filters": 3 * filters, "drop_path": 0.2, "auxiliary": auxiliary}
    return network_blueprint((3, 32, 32), classes, cells, spread(20, filters, 2), options)
