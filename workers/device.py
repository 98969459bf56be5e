"""The device that children are trained on, as people call it."""

from __future__ import annotations

import platform
import re
from functools import cache
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")


def device_name(name: str) -> str:
    """The name of `auto`, `cpu`, `cuda` or `cuda:N`: `NVIDIA H200`, or `CPU (AMD EPYC 9654)`; imports torch."""
    from workers.latency import device_of

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
