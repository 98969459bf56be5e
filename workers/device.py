"""The device that children are trained on: which one a job means, and what people call it."""

from __future__ import annotations

import platform
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from workers.errors import UserError

if TYPE_CHECKING:
    import torch

CPUINFO = Path("/proc/cpuinfo")


def device_of(name: str) -> torch.device:
    """The device called `name`; `auto` is the first GPU if torch sees one, else the CPU."""
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(f"device is {name!r}, but torch sees no GPU here: use device: auto, or a build of torch for it")
    return torch.device(name)


def device_name(name: str) -> str:
    """The name of `auto`, `cpu`, `cuda` or `cuda:N`: `NVIDIA H200`, or `CPU (AMD EPYC 9654)`; imports torch."""
    device = device_of(name)
    if device.type == "cuda":
        import torch

        return torch.cuda.get_device_name(device)
    return f"CPU ({processor()})"


@cache
def processor(cpuinfo: Path = CPUINFO) -> str:
    """The processor's model, else the kind of machine."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        found = None
    return " ".join(found[1].split()) if found else platform.machine()
