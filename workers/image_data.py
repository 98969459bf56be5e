"""ImageData: images of one data set, cached once per machine, split, and ready for any number of processes."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, final

from workers.errors import UserError
from workers.image_source import Images, Source, digest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Rows = NDArray[np.int64]

LAYOUT = 1  # of the cache's folders; raised whenever their content changes


@final
@dataclass(frozen=True)
class Division:
    """How a data set is divided; `test` is a share that is set aside only where none is published.

    The limits keep so many images per part, in equal shares of each class; None keeps all.
    """

    seed: int = 0
    validation: float = 0.1
    test: float = 0.2
    train_examples: int | None = None
    validation_examples: int | None = None


@final
@dataclass(frozen=True)
class Part:
    """Some images: all pixels `(all, channels, height, width)` and labels of a file, and which rows of them."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    rows: Rows

    def __len__(self) -> int:
        return len(self.rows)


@final
@dataclass(frozen=True)
class ImageData:
    """The three parts of a data set, its classes, and mean and deviation of the training part's channels in 0..1."""

    train: Part
    validation: Part
    test: Part
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    kept: dict[object, Any] = field(default_factory=dict, repr=False, compare=False)  # tensors for later trials

    def part(self, split: str) -> Part:
        """The part called `train`, `validation` or `test`."""
        return {"train": self.train, "validation": self.validation, "test": self.test}[split]

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        _, channels, height, width = self.train.pixels.shape
        return channels, height, width


def cache_folder() -> Path:
    """Where prepared data lie: `$NAS_CACHE`, else `~/.cache/cellwright`."""
    return Path(os.environ.get("NAS_CACHE") or Path.home() / ".cache" / "cellwright").expanduser()


def load(source: Source, division: Division, cache: Path) -> ImageData:
    """The data of `source`, divided; read from it at most once per machine, later mapped from `cache`."""
    folder = _cached(source, cache)
    images = _mapped(folder)
    train, validation, test = divide(images, division)
    mean, std = _statistics(train, folder / f"statistics-{digest(repr(division))}.json")
    return ImageData(train, validation, test, images.classes, mean, std)


def divide(images: Images, division: Division) -> tuple[Part, Part, Part]:
    """Train, validation and test, with every class in (nearly) its share; equal seeds give equal rows anywhere."""
    import numpy as np

    count, generator = len(images.y_train), Random(f"division/{division.seed}")
    order = np.argsort([generator.random() for _ in range(count)], kind="stable")
    rest = order
    if images.x_test is None or images.y_test is None:
        taken, rest = _stratified(images.y_train, rest, round(division.test * count))
        test = Part(images.x_train, images.y_train, np.sort(taken))
    else:
        test = Part(images.x_test, images.y_test, np.arange(len(images.y_test)))
    taken, rest = _stratified(images.y_train, rest, round(division.validation * len(rest)))
    validation = _limited(images.y_train, taken, division.validation_examples)
    train = _limited(images.y_train, rest, division.train_examples)
    for name, rows in (("training", train), ("validation", validation), ("test", test.rows)):
        if len(rows) == 0:
            raise UserError(f"no image is left for the {name} part of {count}: set larger shares, or give more images")
    return (
        Part(images.x_train, images.y_train, train),
        Part(images.x_train, images.y_train, validation),
        test,
    )


def _stratified(labels: NDArray[np.int64], rows: Rows, count: int) -> tuple[Rows, Rows]:
    """`count` of `rows` with each class in its share (largest remainders), and the others, both in their order."""
    import numpy as np

    count = min(count, len(rows))
    found = labels[rows]
    sizes = np.bincount(found)
    shares = sizes * (count / max(len(rows), 1))
    quota = np.floor(shares).astype(np.int64)
    largest = np.argsort(-(shares - quota), kind="stable")[: count - int(quota.sum())]
    quota[largest] += 1
    taken = np.zeros(len(rows), dtype=bool)
    for label, size in enumerate(quota):
        taken[np.flatnonzero(found == label)[:size]] = True
    return rows[taken], rows[~taken]


def _limited(labels: NDArray[np.int64], rows: Rows, limit: int | None) -> Rows:
    """At most `limit` of `rows`, in equal shares, in the file's order (which reads fastest)."""
    import numpy as np

    return np.sort(rows if limit is None or limit >= len(rows) else _stratified(labels, rows, limit)[0])


def _statistics(part: Part, file: Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel in 0..1, from counts of the 256 levels, so exact."""
    import numpy as np

    if file.is_file():
        known = json.loads(file.read_text())
        return tuple(known["mean"]), tuple(known["std"])
    levels, mean, std = np.arange(256) / 255, [], []
    for channel in range(part.pixels.shape[1]):
        counts = np.zeros(256, dtype=np.int64)
        for rows in np.array_split(part.rows, max(1, len(part) // 4096)):  # few pages in memory at a time
            counts += np.bincount(part.pixels[rows, channel].reshape(-1), minlength=256)
        share = counts / counts.sum()
        middle = float(share @ levels)
        mean.append(middle)
        std.append(max(float(share @ (levels - middle) ** 2) ** 0.5, 1 / 255))  # a blank channel divides by one level
    write_whole(file, json.dumps({"mean": mean, "std": std}).encode())
    return tuple(mean), tuple(std)


def _cached(source: Source, cache: Path) -> Path:
    """The folder with the arrays of `source`, built by one process while others wait."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with locked(cache / f"{source.name}.lock"):
            source.fetch()
            folder = cache / f"{source.name}-{digest(str(LAYOUT), source.identity())}"
            if not folder.is_dir():
                _build(source.read(), folder)
            return folder
    except OSError as error:
        raise UserError(f"the cache {cache} cannot be used ({error}): name another folder in NAS_CACHE") from error


def _build(images: Images, folder: Path) -> None:
    import numpy as np

    building = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        for name in ("x_train", "y_train", "x_test", "y_test"):
            array = getattr(images, name)
            if array is not None:
                np.save(building / f"{name}.npy", np.ascontiguousarray(array), allow_pickle=False)
        (building / "classes.json").write_text(json.dumps(images.classes))
        building.rename(folder)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise


def _mapped(folder: Path) -> Images:
    """The arrays of a cached folder as memory maps: processes share their pages."""
    import numpy as np

    arrays: Mapping[str, NDArray[np.generic]] = {
        path.stem: np.load(path, mmap_mode="c", allow_pickle=False)  # "c" is writable for torch, and never written
        for path in folder.glob("*.npy")
    }
    return Images(
        np.asarray(arrays["x_train"]),
        np.asarray(arrays["y_train"]),
        tuple(json.loads((folder / "classes.json").read_text())),
        np.asarray(arrays["x_test"]) if "x_test" in arrays else None,
        np.asarray(arrays["y_test"]) if "y_test" in arrays else None,
    )


@contextlib.contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold `file`, which need not exist, alone on this machine; others wait."""
    with file.open("a") as opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield


def write_whole(file: Path, content: bytes) -> None:
    """Write `file` so that nobody ever reads half of it."""
    handle, temporary = tempfile.mkstemp(prefix=f".{file.name}-", dir=file.parent)
    with os.fdopen(handle, "wb") as opened:
        opened.write(content)
    Path(temporary).rename(file)
