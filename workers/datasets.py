"""Data sets of images, read from scikit-learn, torchvision, a folder or an .npz file as arrays of one layout."""

from __future__ import annotations

import difflib
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from workers.errors import NotFoundError, UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]
    Labels = NDArray[np.int64]

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff")


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


@final
class Digits(Source):
    """Scikit-learn's 1,797 real scans of digits, 8x8 grey; its 17 levels are spread over 0 to 255."""

    name = "digits"
    shape = (1, 8, 8)
    classes = 10

    def fetch(self) -> None:
        pass  # scikit-learn carries them

    def identity(self) -> str:
        return digest("digits, 1797 scans, levels times 255 / 16")

    def read(self) -> Images:
        import numpy as np
        from sklearn.datasets import load_digits

        bunch = load_digits()
        pixels = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
        return Images(pixels, bunch.target.astype(np.int64), tuple(map(str, range(10))))


@final
@dataclass(frozen=True)
class Published:
    """One of torchvision's data sets: its class there, where its files lie under the root, and what is usual for it."""

    title: str
    files: tuple[str, ...]
    shape: tuple[int, int, int]
    classes: int
    habits: Habits
    by_split: bool = False


CROPPED = Habits(crop=4)
MIRRORED = Habits(flip=True, crop=4)
PUBLISHED: Mapping[str, Published] = {
    "mnist": Published("MNIST", ("MNIST/raw",), (1, 28, 28), 10, Habits(crop=2)),
    "fashion_mnist": Published("FashionMNIST", ("FashionMNIST/raw",), (1, 28, 28), 10, Habits(flip=True, crop=2)),
    "cifar10": Published("CIFAR10", ("cifar-10-batches-py",), (3, 32, 32), 10, MIRRORED),
    "cifar100": Published("CIFAR100", ("cifar-100-python",), (3, 32, 32), 100, MIRRORED),
    "svhn": Published("SVHN", ("train_32x32.mat", "test_32x32.mat"), (3, 32, 32), 10, CROPPED, by_split=True),
}


@final
class Torchvision(Source):
    """A data set that torchvision knows, under `root` in torchvision's layout, downloaded on first use."""

    def __init__(self, name: str, root: Path, download: bool) -> None:
        self.published = PUBLISHED[name]
        self.key, self.root, self.download = name, root, download
        self.habits, self.shape, self.classes = self.published.habits, self.published.shape, self.published.classes

    @property
    def name(self) -> str:
        return self.key

    def fetch(self) -> None:
        self._open(True)
        self._open(False)

    def identity(self) -> str:
        return digest(self.key, *(stamp for name in self.published.files for stamp in stamps(self.root / name)))

    def read(self) -> Images:
        train, test = self._open(True), self._open(False)
        names = getattr(train, "classes", None) or [str(label) for label in range(self.published.classes)]
        x_train, y_train = self._arrays(train)
        x_test, y_test = self._arrays(test)
        return Images(x_train, y_train, tuple(names), x_test, y_test)

    def _arrays(self, opened: Any) -> tuple[Pixels, Labels]:
        import numpy as np

        labels = opened.labels if self.published.by_split else opened.targets
        return planes(np.asarray(opened.data), self.key), np.asarray(labels, dtype=np.int64)

    def _open(self, train: bool) -> Any:
        kind = getattr(_torchvision().datasets, self.published.title)
        part = {"split": "train" if train else "test"} if self.published.by_split else {"train": train}
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            return kind(str(self.root), download=self.download, **part)
        except ImportError as error:
            raise UserError(f"reading {self.key} needs {error.name}: pip install {error.name}") from error
        except (RuntimeError, OSError) as error:
            layout = " and ".join(str(self.root / name) for name in self.published.files)
            raise NotFoundError(
                f"the data set {self.key} is not under {self.root} ({str(error).splitlines()[0]}): with access to "
                f"its server leave `download: true`, otherwise put its files there ({layout}) or name their `root`"
            ) from error


@final
class Folder(Source):
    """A folder of images per class, or two such folders in `train` and `test`; resized to squares of `side` pixels."""

    name = "folder"

    def __init__(self, root: Path, side: int, habits: Habits = MIRRORED) -> None:
        self.root, self.side, self.habits = root, side, habits
        self.train = root / "train" if (root / "train").is_dir() else root
        self.test = root / "test" if self.train != root and (root / "test").is_dir() else None

    def fetch(self) -> None:
        if not self.root.is_dir():
            raise NotFoundError(f"there is no folder {self.root}: `root` must name a folder with one folder per class")

    def identity(self) -> str:
        return digest("folder", str(self.side), *stamps(self.root))

    def read(self) -> Images:
        classes = tuple(one.name for one in _class_folders(self.train))
        if len(classes) < 2:
            raise UserError(
                f"{self.train} holds {len(classes)} class folders, but at least 2 are needed: one folder of images "
                "per class, named after it"
            )
        x_train, y_train = self._part(self.train, classes)
        if self.test is None:
            return Images(x_train, y_train, classes)
        if unknown := sorted({one.name for one in _class_folders(self.test)} - set(classes)):
            raise UserError(f"{self.test} has the class {unknown[0]!r}, which {self.train} lacks: each needs both")
        return Images(x_train, y_train, classes, *self._part(self.test, classes))

    def _part(self, folder: Path, classes: tuple[str, ...]) -> tuple[Pixels, Labels]:
        import numpy as np

        files = [(path, label) for label, name in enumerate(classes) for path in _images_of(folder / name)]
        pixels = np.empty((len(files), 3, self.side, self.side), dtype=np.uint8)
        for row, (path, _) in enumerate(files):
            pixels[row] = _picture(path, self.side)
        return pixels, np.array([label for _, label in files], dtype=np.int64)


@final
class Archive(Source):
    """An .npz file with `x_train`, `y_train` and perhaps `x_test`, `y_test`, `classes`; 8-bit images, NHWC or NCHW."""

    name = "npz"

    def __init__(self, path: Path, habits: Habits = MIRRORED) -> None:
        self.path, self.habits = path, habits

    def fetch(self) -> None:
        if not self.path.is_file():
            raise NotFoundError(f"there is no file {self.path}: `root` must name an .npz file with x_train and y_train")

    def identity(self) -> str:
        return digest("npz", *stamps(self.path))

    def read(self) -> Images:
        import numpy as np

        try:
            with np.load(self.path, allow_pickle=False) as opened:
                arrays = {name: opened[name] for name in opened.files}
        except (ValueError, OSError, EOFError) as error:
            raise UserError(f"{self.path} cannot be read as .npz: {error}; write it with numpy.savez") from error
        for name in ("x_train", "y_train"):
            if name not in arrays:
                raise UserError(f"{self.path} holds {', '.join(arrays)}, but needs x_train and y_train")
        x_train, y_train = planes(arrays["x_train"], "x_train"), _labels(arrays, "train")
        count = int(y_train.max()) + 1
        classes = tuple(map(str, arrays.get("classes", np.arange(count))))
        if len(classes) < max(count, 2):
            raise UserError(f"y_train of {self.path} goes to {count - 1}, but there are {len(classes)} classes")
        if "x_test" not in arrays:
            return Images(x_train, y_train, classes)
        x_test, y_test = planes(arrays["x_test"], "x_test"), _labels(arrays, "test")
        if x_test.shape[1:] != x_train.shape[1:] or int(y_test.max()) >= len(classes):
            raise UserError(f"x_test and y_test of {self.path} do not fit x_train and y_train: equal shape and classes")
        return Images(x_train, y_train, classes, x_test, y_test)


def source_of(dataset: str, root: Path | None, store: Path, side: int, download: bool) -> Source:
    """The source that a job means by `dataset`: a known name, or the path of an .npz file or a folder.

    `store` is where downloads go when `root` is None.
    """
    known = ["digits", *PUBLISHED, "folder", "npz"]
    name = dataset.lower().replace("-", "_")
    name = {one.title.lower(): key for key, one in PUBLISHED.items()}.get(name, name)
    if name == "digits":
        return Digits()
    if name in PUBLISHED:
        return Torchvision(name, store if root is None else root, download)
    if name in ("folder", "npz"):
        if root is None:
            raise UserError(f"dataset: {name} needs `root`, the path of the {name if name == 'folder' else 'file'}")
        return Folder(root, side) if name == "folder" else Archive(root)
    if dataset.endswith(".npz"):
        return Archive(Path(dataset).expanduser())
    if "/" in dataset or Path(dataset).is_dir():
        return Folder(Path(dataset).expanduser(), side)
    near = difflib.get_close_matches(name, known, n=1)
    raise NotFoundError(
        f"dataset is {dataset!r}, but no data set has that name: "
        + (f"did you mean {near[0]}? " if near else "")
        + f"There are {', '.join(known)}, or the path of a folder or an .npz file"
    )


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


def _labels(arrays: Mapping[str, NDArray[Any]], part: str) -> Labels:
    import numpy as np

    labels, count = arrays.get(f"y_{part}"), len(arrays[f"x_{part}"])
    if labels is None:
        raise UserError(f"x_{part} is there, but y_{part} is not: give the labels of these images")
    labels = labels.reshape(-1) if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if labels.shape != (count,) or not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0:
        raise UserError(
            f"y_{part} is {labels.dtype} {labels.shape}, but must be one whole number from 0 for each of {count} images"
        )
    return labels.astype(np.int64)


def _class_folders(root: Path) -> list[Path]:
    return sorted(one for one in root.iterdir() if one.is_dir() and not one.name.startswith("."))


def _images_of(folder: Path) -> list[Path]:
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES) if folder.is_dir() else []
    if not files:
        raise UserError(f"the class folder {folder} holds no image ({', '.join(SUFFIXES)}): fill or remove it")
    return files


def _picture(path: Path, side: int) -> Pixels:
    """One file as `(3, side, side)`: the shorter edge is scaled to `side`, the middle cut out."""
    import numpy as np

    try:
        from PIL import Image, ImageOps
    except ModuleNotFoundError:
        raise UserError("reading a folder of images needs Pillow: pip install pillow") from None
    try:
        with Image.open(path) as opened:
            return np.asarray(ImageOps.fit(opened.convert("RGB"), (side, side))).transpose(2, 0, 1)
    except OSError as error:
        raise UserError(f"{path} is no image that can be read ({error}): mend or remove it") from error


def _torchvision() -> Any:
    try:
        import torchvision
    except ImportError as error:
        raise UserError(
            "this data set needs torchvision: install torchvision built for the same torch (pip install torchvision)"
        ) from error
    except RuntimeError as error:  # its compiled operators do not load beside another build of torch
        raise UserError(
            f"torchvision does not match torch ({error}): install torchvision built for the same torch, from the same "
            "package index"
        ) from error
    return torchvision
