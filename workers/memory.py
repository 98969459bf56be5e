"""The most memory that a stretch of work held, of the process and of its GPU."""

from __future__ import annotations

import os
import resource
import sys
from typing import Any


def begin() -> None:
    """From here on the peak counts."""
    try:
        handle = os.open("/proc/self/clear_refs", os.O_WRONLY)
        try:
            os.write(handle, b"5")  # proc(5): resets the peak resident set size; 3 microseconds
        finally:
            os.close(handle)
    except OSError:
        pass  # not Linux, or forbidden: `peak` then tells the peak of the whole process
    if (cuda := _cuda()) is not None:
        cuda.reset_peak_memory_stats()


def peak() -> int:
    """Bytes: the larger of the process' resident set since `begin` and what torch held on the GPU."""
    if (cuda := _cuda()) is not None:
        return max(_resident(), int(cuda.max_memory_allocated()))
    return _resident()


def _resident() -> int:
    try:
        handle = os.open("/proc/self/status", os.O_RDONLY)
        try:
            status = os.read(handle, 4096)
        finally:
            os.close(handle)
        return int(status.partition(b"VmHWM:")[2].split(None, 1)[0]) * 1024
    except (OSError, ValueError, IndexError):
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _cuda() -> Any:
    """torch.cuda where it is in use; never imports torch."""
    torch = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)
    return cuda if cuda is not None and cuda.is_initialized() else None
