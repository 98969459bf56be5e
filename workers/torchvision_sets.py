"""Data sets that torchvision knows: read from its layout on disk, downloaded on first use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from workers.errors import NotFoundError, UserError
from workers.image_source import Habits, Images, Source, digest, planes, stamps

if TYPE_CHECKING:
    from workers.image_source import Labels, Pixels


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
        if not all((self.root / name).exists() for name in self.published.files):
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
            if self.download:
                self.root.mkdir(parents=True, exist_ok=True)
            return kind(str(self.root), download=self.download, **part)
        except ImportError as error:
            raise UserError(f"reading {self.key} needs {error.name}: pip install {error.name}") from error
        except (RuntimeError, OSError) as error:
            layout = " and ".join(str(self.root / name) for name in self.published.files)
            why = str(error).partition("\n")[0].partition(" You can use download")[0].rstrip(".:")
            raise NotFoundError(
                f"the data set {self.key} is not under {self.root} ({why}): with access to "
                f"its server leave `download: true`, otherwise put its files there ({layout}) or name their `root`"
            ) from error


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
