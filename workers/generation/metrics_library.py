"""torchmetrics, also where torchvision is installed but does not match torch, which it would not import beside."""

from __future__ import annotations

import warnings
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import torch

from workers.errors import UserError

_KEPT: list[object] = []  # operator schemas are withdrawn when their library object is collected
SCHEMA = "(Tensor dets, Tensor scores, float threshold) -> Tensor"


@cache
def image_metrics() -> ModuleType:
    """The module `torchmetrics.image`, none of whose metrics that are used here calls torchvision.

    Where torchvision's compiled operators do not load, their schemas are declared, so that its import goes through.
    """
    declare_operators()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import torchmetrics.image
            import torchmetrics.image.fid
            import torchmetrics.image.inception
    except (ImportError, RuntimeError) as error:
        raise UserError(
            f"torchmetrics cannot be imported ({error}): install torchmetrics, and torchvision built for "
            "the same torch, or no torchvision at all"
        ) from error
    return torchmetrics.image


def declare_operators() -> None:
    """Let torchvision be imported beside a torch that it was not built for, as far as Python code goes."""
    found = find_spec("torchvision")
    if found is None or found.origin is None or hasattr(torch.ops.torchvision, "nms"):
        return
    try:
        for library in Path(found.origin).parent.glob("_C*.so"):
            torch.ops.load_library(library)  # type: ignore[no-untyped-call]
    except OSError:
        schemas = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
        for name in ("nms", "qnms"):
            schemas.define(f"{name}{SCHEMA}")  # type: ignore[no-untyped-call]
        _KEPT.append(schemas)
