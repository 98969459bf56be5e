"""Images of a user: a folder of files per class, or arrays in an .npz file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, final
from zipfile import BadZipFile

from workers.errors import NotFoundError, UserError
from workers.image_source import Habits, Images, Source, digest, planes, stamps

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from workers.image_source import Labels, Pixels

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff")
MIRRORED = Habits(flip=True, crop=4)


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
            raise NotFoundError(
                f"there is no folder {self.root.absolute()}: name one that holds a folder of images per class"
            )
        if self.train != self.root:
            for one in _class_folders(self.root):
                if one.name not in ("train", "test"):
                    raise UserError(
                        f"{self.root} holds {one.name} beside train, which is not read: rename it to test if it is "
                        "the test set, or move its images into train (validation is drawn from there)"
                    )

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
            raise NotFoundError(f"there is no file {self.path.absolute()}: name an .npz file with x_train and y_train")

    def identity(self) -> str:
        return digest("npz", *stamps(self.path))

    def read(self) -> Images:
        import numpy as np

        try:
            with self.path.open("rb") as file, np.load(file, allow_pickle=False) as opened:
                arrays = {name: opened[name] for name in opened.files}
        except OSError as error:
            raise UserError(f"{self.path} cannot be read: {error.strerror or error}") from error
        except (ValueError, TypeError, EOFError, BadZipFile) as error:
            raise UserError(
                f"{self.path} is damaged, or no .npz file of plain numbers: write it with numpy.savez(file, "
                "x_train=..., y_train=...), whole numbers as labels"
            ) from error
        for name in ("x_train", "y_train"):
            if name not in arrays:
                raise UserError(f"{self.path} holds {', '.join(arrays)}, but needs x_train and y_train")
        x_train, y_train = self._pixels(arrays, "x_train"), self._labels(arrays, "train")
        count = int(y_train.max()) + 1
        classes = tuple(map(str, arrays.get("classes", np.arange(count))))
        if len(classes) < max(count, 2):
            least = "as many as that needs" if count > 1 else "at least 2"
            raise UserError(
                f"y_train of {self.path} goes to {count - 1} and names {len(classes)} classes, "
                f"but there must be {least}"
            )
        if "x_test" not in arrays:
            return Images(x_train, y_train, classes)
        x_test, y_test = self._pixels(arrays, "x_test"), self._labels(arrays, "test")
        if x_test.shape[1:] != x_train.shape[1:] or int(y_test.max()) >= len(classes):
            raise UserError(f"x_test and y_test of {self.path} do not fit x_train and y_train: equal shape and classes")
        return Images(x_train, y_train, classes, x_test, y_test)

    def _pixels(self, arrays: Mapping[str, NDArray[Any]], name: str) -> Pixels:
        return planes(arrays[name], f"{name} of {self.path}")

    def _labels(self, arrays: Mapping[str, NDArray[Any]], part: str) -> Labels:
        import numpy as np

        labels, count = arrays.get(f"y_{part}"), len(arrays[f"x_{part}"])
        if labels is None:
            raise UserError(f"{self.path} has x_{part}, but y_{part} is not there: give the labels of these images")
        labels = labels.reshape(-1) if labels.ndim == 2 and labels.shape[1] == 1 else labels
        if labels.shape != (count,) or not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0:
            raise UserError(
                f"y_{part} of {self.path} is {labels.dtype} {labels.shape}, but must be one whole number from 0 "
                f"for each of {count} images"
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
