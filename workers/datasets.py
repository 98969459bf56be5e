"""Data sets by name: scikit-learn's digits, torchvision's, a folder or an .npz file."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import final

from workers.errors import NotFoundError, UserError
from workers.image_files import Archive, Folder
from workers.image_source import Images, Source, digest
from workers.torchvision_sets import PUBLISHED, Torchvision


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
        + f"there are {', '.join(known)}, or the path of a folder or an .npz file, from {Path.cwd()}"
    )
