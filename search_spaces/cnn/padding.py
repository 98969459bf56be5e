"""How TensorFlow's SAME pads, which the networks published in it need."""

from __future__ import annotations


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """The padding before and after an axis of length `size` with which a strided layer gives ceil(size / stride)."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2
