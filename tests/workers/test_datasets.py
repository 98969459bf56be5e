from __future__ import annotations

import gzip
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from workers.datasets import source_of
from workers.errors import NotFoundError, UserError
from workers.image_source import Images, Source, planes


def opened(dataset: str, root: Path | None = None, side: int = 8) -> Source:
    return source_of(dataset, root, Path("/nowhere"), side, download=False)


def read(source: Source) -> Images:
    source.fetch()
    return source.read()


def test_digits_are_scikit_learns_scans() -> None:
    from sklearn.datasets import load_digits

    images, bunch = read(opened("digits")), load_digits()
    assert images.x_train.shape == (1797, 1, 8, 8)
    assert images.x_test is None
    assert np.array_equal(np.rint(images.x_train[:, 0] / 255 * 16), bunch.images)
    assert np.array_equal(images.y_train, bunch.target)
    assert images.x_train.max() == 255


@pytest.mark.parametrize("shape", [(6, 5, 4, 3), (6, 3, 5, 4), (6, 5, 4, 1), (6, 5, 4)])
def test_arrays_come_in_any_usual_layout(tmp_path: Path, shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    np.savez(tmp_path / "a.npz", x_train=pixels, y_train=np.array([[0], [1], [2], [0], [1], [2]], dtype=np.uint8))
    images = read(opened(str(tmp_path / "a.npz")))
    assert images.x_train.shape == (6, pixels.size // 120, 5, 4)
    expected = pixels[:, 0] if shape == (6, 3, 5, 4) else pixels.reshape(6, 5, 4, -1)[..., 0]
    assert np.array_equal(images.x_train[:, 0], expected)
    assert images.y_train.tolist() == [0, 1, 2, 0, 1, 2]
    assert images.classes == ("0", "1", "2")


def good() -> dict[str, NDArray[Any]]:
    return {"x_train": np.zeros((4, 6, 6, 3), np.uint8), "y_train": np.array([0, 1, 0, 1])}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_train": None}, "needs x_train and y_train"),
        ({"y_train": None}, "needs x_train and y_train"),
        ({"x_train": np.zeros((4, 6, 6, 3))}, "x_train of .*a.npz holds float64, but must hold uint8"),
        ({"x_train": np.zeros((4, 6, 6, 2), np.uint8)}, "must have 1 or 3 channels"),
        ({"x_train": np.zeros((4, 6), np.uint8)}, "must be images"),
        ({"y_train": np.array([0, 1, 0])}, "one whole number from 0 for each of 4 images"),
        ({"y_train": np.array([0.0, 1, 0, 1])}, "one whole number from 0"),
        ({"y_train": np.array([0, -1, 0, 1])}, "one whole number from 0"),
        ({"y_train": np.zeros(4, int)}, "names 1 classes, but there must be"),
        ({"classes": np.array(["a"])}, "names 1 classes, but there must be"),
        ({"x_test": np.zeros((1, 6, 6, 3), np.uint8)}, "y_test is not"),
        ({"x_test": np.zeros((1, 5, 6, 3), np.uint8), "y_test": np.array([0])}, "do not fit"),
        ({"x_test": np.zeros((1, 6, 6, 3), np.uint8), "y_test": np.array([2])}, "do not fit"),
    ],
)
def test_wrong_arrays_are_named(tmp_path: Path, changes: dict[str, NDArray[Any] | None], message: str) -> None:
    arrays = {name: array for name, array in {**good(), **changes}.items() if array is not None}
    np.savez(tmp_path / "a.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=message):
        read(opened("npz", tmp_path / "a.npz"))


def test_an_archive_with_objects_is_not_unpickled(tmp_path: Path) -> None:
    objects: Any = np.array([{}, 1], dtype=object)
    np.savez(tmp_path / "a.npz", x_train=objects, y_train=objects)
    with pytest.raises(UserError, match="file of plain numbers"):
        read(opened(str(tmp_path / "a.npz")))


def test_a_broken_archive_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "whole.npz", **good())  # type: ignore[arg-type]
    np.save(tmp_path / "lone.npy", np.zeros(3))
    lone = (tmp_path / "lone.npy").read_bytes()
    for content in (b"no archive", b"", lone, (tmp_path / "whole.npz").read_bytes()[:-40]):
        (tmp_path / "a.npz").write_bytes(content)
        with pytest.raises(UserError, match="file of plain numbers"):
            read(opened(str(tmp_path / "a.npz")))


def paint(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (9, 12)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


def test_a_folder_has_one_folder_per_class(tmp_path: Path) -> None:
    paint(tmp_path / "cat" / "b.png", (10, 20, 30))
    paint(tmp_path / "cat" / "deep" / "a.bmp", (40, 50, 60))
    paint(tmp_path / "dog" / "c.png", (70, 80, 90), (8, 8))
    (tmp_path / "dog" / "notes.txt").write_text("no image")
    (tmp_path / ".hidden").mkdir()
    images = read(opened(str(tmp_path)))
    assert images.classes == ("cat", "dog")
    assert images.y_train.tolist() == [0, 0, 1]
    assert images.x_train.shape == (3, 3, 8, 8)
    assert images.x_train[:, :, 4, 4].tolist() == [[10, 20, 30], [40, 50, 60], [70, 80, 90]]
    assert images.x_test is None


def test_a_folder_may_hold_its_test_set(tmp_path: Path) -> None:
    for part, count in (("train", 2), ("test", 1)):
        for label in ("a", "b"):
            for place in range(count):
                paint(tmp_path / part / label / f"{place}.png", (place, 0, 0))
    images = read(opened("folder", tmp_path))
    assert len(images.y_train) == 4
    assert images.y_test is not None
    assert images.y_test.tolist() == [0, 1]


def test_a_folder_that_would_not_be_read_is_named(tmp_path: Path) -> None:
    for part in ("train", "val"):
        paint(tmp_path / part / "a" / "0.png", (0, 0, 0))
    with pytest.raises(UserError, match="holds val beside train, which is not read: rename it to test"):
        read(opened("folder", tmp_path))


def test_mistakes_in_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="there is no folder"):
        read(opened("folder", tmp_path / "gone"))
    paint(tmp_path / "cat" / "a.png", (0, 0, 0))
    with pytest.raises(UserError, match="holds 1 class folders"):
        read(opened("folder", tmp_path))
    (tmp_path / "dog").mkdir()
    with pytest.raises(UserError, match=r"class folder .*dog holds no image"):
        read(opened("folder", tmp_path))
    (tmp_path / "dog" / "a.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"a\.png is no image that can be read"):
        read(opened("folder", tmp_path))


def write_idx(path: Path, array: NDArray[np.uint8]) -> None:
    """The format of MNIST's files, as its page describes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = bytes([0, 0, 8, array.ndim]) + b"".join(int(n).to_bytes(4, "big") for n in array.shape)
    path.write_bytes(header + array.tobytes())


@pytest.mark.parametrize("name", ["mnist", "FashionMNIST"])
def test_mnist_files_are_read_through_torchvision(tmp_path: Path, name: str) -> None:
    raw = tmp_path / {"mnist": "MNIST"}.get(name, name) / "raw"
    generator = np.random.default_rng(1)
    x, y = generator.integers(0, 256, (12, 28, 28), dtype=np.uint8), np.arange(12, dtype=np.uint8) % 10
    write_idx(raw / "train-images-idx3-ubyte", x)
    write_idx(raw / "train-labels-idx1-ubyte", y)
    write_idx(raw / "t10k-images-idx3-ubyte", x[:5])
    write_idx(raw / "t10k-labels-idx1-ubyte", y[:5])
    images = read(opened(name, tmp_path))
    assert np.array_equal(images.x_train, x[:, None])
    assert np.array_equal(images.y_train, y)
    assert images.y_test is not None
    assert np.array_equal(images.y_test, y[:5])
    assert len(images.classes) == 10


def test_real_fashion_mnist(data_root: Path, tmp_path: Path) -> None:
    """Published: 6,000 and 1,000 per class, mean 0.2860, deviation 0.3530."""
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for file in (data_root / "fashion_mnist").glob("*.gz"):
        (raw / file.stem).write_bytes(gzip.decompress(file.read_bytes()))
    images = read(opened("fashion_mnist", tmp_path))
    assert images.x_train.shape == (60000, 1, 28, 28)
    assert np.bincount(images.y_train).tolist() == [6000] * 10
    assert images.y_test is not None
    assert np.bincount(images.y_test).tolist() == [1000] * 10
    assert images.x_train.mean() / 255 == pytest.approx(0.2860, abs=5e-5)
    assert images.x_train.std() / 255 == pytest.approx(0.3530, abs=5e-5)
    assert images.classes[0] == "T-shirt/top"


@pytest.mark.parametrize("classes", [10, 100])
def test_cifar_batches_are_read_through_torchvision(
    tmp_path: Path, classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tiny batches in the layout of CIFAR's page; torchvision's check of their MD5 is left out."""
    import torchvision

    generator, base = np.random.default_rng(2), "cifar-10-batches-py" if classes == 10 else "cifar-100-python"
    kind = getattr(torchvision.datasets, f"CIFAR{classes}")
    key = "labels" if classes == 10 else "fine_labels"
    (tmp_path / base).mkdir()
    pixels = {}
    for file, _ in (*kind.train_list, *kind.test_list):
        pixels[file] = generator.integers(0, 256, (4, 3072), dtype=np.uint8)
        (tmp_path / base / file).write_bytes(pickle.dumps({"data": pixels[file], key: [0, 1, 2, classes - 1]}))
    names = [f"class {i}" for i in range(classes)]
    (tmp_path / base / kind.meta["filename"]).write_bytes(pickle.dumps({kind.meta["key"]: names}))
    monkeypatch.setattr(kind, "_check_integrity", lambda self: True)
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *_: True)
    images = read(opened(f"cifar{classes}", tmp_path))
    expected = np.concatenate([pixels[file] for file, _ in kind.train_list]).reshape(-1, 3, 32, 32)
    assert np.array_equal(images.x_train, expected)
    assert images.y_train.tolist()[:4] == [0, 1, 2, classes - 1]
    assert images.classes == tuple(names)


def test_svhn_is_read_through_torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SVHN's page: pixels as height, width, channel, count; the digit 0 has the label 10."""
    from scipy.io import savemat

    pixels = np.random.default_rng(3).integers(0, 256, (32, 32, 3, 4), dtype=np.uint8)
    for part in ("train", "test"):
        savemat(tmp_path / f"{part}_32x32.mat", {"X": pixels, "y": np.array([[10], [1], [9], [10]], np.uint8)})
    monkeypatch.setattr("torchvision.datasets.svhn.SVHN._check_integrity", lambda self: True)
    monkeypatch.setattr("torchvision.datasets.svhn.check_integrity", lambda *_: True)
    images = read(opened("svhn", tmp_path))
    assert np.array_equal(images.x_train, pixels.transpose(3, 2, 0, 1))
    assert images.y_train.tolist() == [0, 1, 9, 0]


def test_a_missing_data_set_says_where_it_belongs(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=f"cifar10 is not under {tmp_path}.*cifar-10-batches-py.*`root`"):
        read(opened("cifar10", tmp_path))
    with pytest.raises(NotFoundError, match=r"cifar10 is not under .*nowhere \(Dataset not found or corrupted\)"):
        read(opened("cifar10", tmp_path / "nowhere"))
    assert not (tmp_path / "nowhere").exists()


def test_torchvision_missing_or_not_matching(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "torchvision", None)
        with pytest.raises(UserError, match="install torchvision built for the same torch"):
            read(opened("mnist", tmp_path))
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    (tmp_path / "torchvision.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UserError, match=r"does not match torch .*nms does not exist.*the same torch"):
        read(opened("mnist", tmp_path))


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ("cifar11", "did you mean cifar10"),
        ("digit", "did you mean digits"),
        ("imagenet", "there are digits, mnist"),
        ("folder", "needs `root`"),
        ("npz", "needs `root`"),
    ],
)
def test_a_wrong_name_lists_the_right_ones(dataset: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        opened(dataset)


def test_planes_keep_what_they_are_given() -> None:
    pixels = np.random.default_rng(4).integers(0, 256, (2, 3, 4, 5), dtype=np.uint8)
    assert np.array_equal(planes(pixels.transpose(0, 2, 3, 1), "x"), pixels)
