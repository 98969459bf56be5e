"""Source: where images come from, and the one layout they are read into."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from workers.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]
    Labels = NDArray[np.int64]


@final
@dataclass(frozen=True)
class Images:
    """Pixels as `(count, channels, height, width)` with labels `(count,)` from 0; the test set may be None."""

    x_train: Pixels
    y_train: Labels
    classes: tuple[str, ...]
    x_test: Pixels | None = None
    y_test: Labels | None = None


@final
@dataclass(frozen=True)
class Habits:
    """What is usual for a data set where the recipe does not say."""

    flip: bool = False
    crop: int = 0
    cutout: int = 0


class Source(ABC):
    """Where images come from; `identity` changes when they do, `shape` is known without reading them or None."""

    habits = Habits()
    shape: tuple[int, int, int] | None = None
    classes: int | None = None

    @property
    @abstractmethod
    def name(self) -> str:
        """A short word for folder names."""

    @abstractmethod
    def fetch(self) -> None:
        """Make sure that the data lie on this machine; raise with a remedy where they cannot."""

    @abstractmethod
    def identity(self) -> str:
        """Which data these are, as a digest; cheap, after `fetch`."""

    @abstractmethod
    def read(self) -> Images:
        """The data themselves, after `fetch`; raise with a remedy where they are not what they should be."""


def planes(pixels: NDArray[Any], name: str) -> Pixels:
    """Images as 8-bit `(count, channels, height, width)`, from NHW, NHWC or NCHW with 1 or 3 channels."""
    import numpy as np

    if pixels.dtype != np.uint8:
        raise UserError(f"{name} holds {pixels.dtype}, but must hold uint8, levels from 0 to 255: convert it")
    if pixels.ndim == 3:
        pixels = pixels[:, None]
    if pixels.ndim != 4 or len(pixels) == 0:
        raise UserError(f"{name} has the shape {pixels.shape}, but must be images as (count, height, width, channels)")
    if pixels.shape[1] in (1, 3):
        return np.ascontiguousarray(pixels)
    if pixels.shape[3] in (1, 3):
        return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
    raise UserError(f"{name} has the shape {pixels.shape}, but must have 1 or 3 channels, second or last")


def digest(*parts: str) -> str:
    """Sixteen hexadecimal digits that stand for `parts`."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def stamps(place: Path) -> Iterator[str]:
    """Path, size and time of change of a file, or of each file under a folder, in order of their paths."""
    for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
        if path.is_file():
            known = path.stat()
            yield f"{path.resolve()} {known.st_size} {known.st_mtime_ns}"
