from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from workers.datasets import Digits
from workers.errors import UserError
from workers.image_data import Division, divide, load
from workers.image_files import Archive
from workers.image_source import Images


def images_of(labels: list[int], tested: bool = False) -> Images:
    pixels = np.arange(len(labels), dtype=np.uint8).reshape(-1, 1, 1, 1)
    array = np.array(labels, dtype=np.int64)
    names = tuple(map(str, range(max(labels) + 1)))
    return Images(pixels, array, names, pixels if tested else None, array if tested else None)


LABELS = st.lists(st.integers(0, 4), min_size=40, max_size=200)


@settings(max_examples=60, deadline=None)
@given(LABELS, st.floats(0.05, 0.4), st.floats(0.05, 0.4), st.integers(0, 9))
def test_a_division_is_stratified_and_leaves_nothing_out(
    labels: list[int], validation: float, test: float, seed: int
) -> None:
    parts = divide(images_of(labels), Division(seed, validation, test))
    rows = [set(part.rows.tolist()) for part in parts]
    assert sum(map(len, rows)) == len(labels) == len(rows[0] | rows[1] | rows[2])
    assert len(parts[2]) == round(test * len(labels))
    array = np.array(labels)
    rest = np.array(sorted(rows[0] | rows[1]))
    assert len(parts[1]) == round(validation * len(rest))
    for chosen, all_rows in ((parts[2].rows, np.arange(len(labels))), (parts[1].rows, rest)):
        for label in set(labels):
            share = len(chosen) / len(all_rows)
            expected = share * (array[all_rows] == label).sum()
            assert abs((array[chosen] == label).sum() - expected) < 1  # the nearest whole numbers


@given(LABELS, st.integers(0, 9))
@settings(max_examples=30, deadline=None)
def test_equal_seeds_divide_equally_and_others_differently(labels: list[int], seed: int) -> None:
    images = images_of(labels)
    first, again, other = (divide(images, Division(s)) for s in (seed, seed, seed + 1))
    assert all(np.array_equal(a.rows, b.rows) for a, b in zip(first, again, strict=True))
    assert any(not np.array_equal(a.rows, b.rows) for a, b in zip(first, other, strict=True))


def test_a_division_never_changes() -> None:
    """Rows as they were when this was written: a search that goes on must not see its validation images in training."""
    train, validation, test = divide(images_of([0, 1, 2] * 8), Division(seed=5, validation=0.25, test=0.25))
    assert validation.rows.tolist() == GOLDEN[0]
    assert test.rows.tolist() == GOLDEN[1]
    assert len(train) == 24 - len(GOLDEN[0]) - len(GOLDEN[1])


GOLDEN = ([7, 17, 18, 21], [1, 3, 5, 10, 15, 20])


def test_a_published_test_set_stays_the_test_set() -> None:
    train, validation, test = divide(images_of([0, 1] * 20, tested=True), Division(validation=0.25))
    assert test.rows.tolist() == list(range(40))
    assert len(validation) == 10
    assert len(train) == 30


def test_limits_keep_equal_shares() -> None:
    labels = [0] * 60 + [1] * 40
    whole = divide(images_of(labels), Division())
    train, validation, test = divide(images_of(labels), Division(train_examples=20, validation_examples=5))
    assert np.bincount(train.labels[train.rows]).tolist() == [12, 8]
    assert np.bincount(validation.labels[validation.rows]).tolist() == [3, 2]
    assert np.array_equal(test.rows, whole[2].rows)
    assert set(train.rows) < set(whole[0].rows)
    assert set(validation.rows) < set(whole[1].rows)


def test_a_part_without_images_is_refused() -> None:
    with pytest.raises(UserError, match="no image is left for the validation part of 5"):
        divide(images_of([0, 1, 0, 1, 0]), Division(validation=0.05))


def test_normalisation_is_the_training_parts(tmp_path: Path) -> None:
    data = load(Digits(), Division(), tmp_path)
    pixels = data.train.pixels[data.train.rows] / 255
    assert data.mean == pytest.approx([pixels.mean()])
    assert data.std == pytest.approx([pixels.std()])
    again = load(Digits(), Division(), tmp_path)
    assert (again.mean, again.std) == (data.mean, data.std)


def test_statistics_of_cifar10_are_the_published_ones(data_root: Path, tmp_path: Path) -> None:
    """All 50,000 training images but one per thousand: the published figures to three digits."""
    data = load(Archive(data_root / "cifar10" / "cifar10.npz"), Division(validation=0.001), tmp_path)
    assert data.mean == pytest.approx([0.4914, 0.4822, 0.4465], abs=3e-4)
    assert data.std == pytest.approx([0.2470, 0.2435, 0.2616], abs=3e-4)
    assert data.shape == (3, 32, 32)
    assert np.bincount(data.test.labels).tolist() == [1000] * 10
    assert data.train.labels[:3].tolist() == [6, 9, 9]
    assert data.train.pixels[0, :, 0, 0].tolist() == [59, 62, 63]
    assert data.classes[:2] == ("airplane", "automobile")


def archive(path: Path, level: int = 0) -> Archive:
    x = np.full((20, 4, 4, 1), level, np.uint8)
    np.savez(path, x_train=x, y_train=np.arange(20) % 2)
    return Archive(path)


def test_a_source_that_changed_is_read_again(tmp_path: Path) -> None:
    first = load(archive(tmp_path / "a.npz", 1), Division(), tmp_path)
    os.utime(tmp_path / "a.npz", ns=(1, 1))
    second = load(archive(tmp_path / "a.npz", 200), Division(), tmp_path)
    assert int(first.train.pixels.max()) == 1
    assert int(second.train.pixels.max()) == 200


def test_arrays_are_mapped_and_never_written(tmp_path: Path) -> None:
    data = load(Digits(), Division(), tmp_path)
    assert isinstance(_owner(data.train.pixels), np.memmap)
    data.train.pixels[:] = 0
    assert load(Digits(), Division(), tmp_path).train.pixels.any()


def _owner(array: NDArray[np.generic]) -> object:
    found: object = array
    while not isinstance(found, np.memmap) and getattr(found, "base", None) is not None:
        found = found.base  # type: ignore[attr-defined]
    return found


def _loading(cache: str, path: str, starting: object) -> None:
    starting.wait()  # type: ignore[attr-defined]
    data = load(Archive(Path(path)), Division(), Path(cache))
    assert int(data.train.pixels.min()) == 7


def test_many_processes_build_the_cache_once(tmp_path: Path) -> None:
    archive(tmp_path / "a.npz", 7)
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(3)
    workers = [
        context.Process(target=_loading, args=(str(tmp_path / "cache"), str(tmp_path / "a.npz"), barrier))
        for _ in range(3)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 3
    assert [path.name.partition("-")[0] for path in _kept(tmp_path / "cache")] == ["npz"]


def test_an_interrupted_build_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, seen = np.save, []

    def failing(file: Path, array: NDArray[np.generic], allow_pickle: bool) -> None:
        seen.append(file)
        if len(seen) == 2:
            raise OSError(28, "No space left on device")
        real(file, array, allow_pickle=allow_pickle)

    monkeypatch.setattr(np, "save", failing)
    with pytest.raises(UserError, match=r"cannot be used .*No space left.*NAS_CACHE"):
        load(Digits(), Division(), tmp_path / "cache")
    assert not list(_kept(tmp_path / "cache"))
    monkeypatch.setattr(np, "save", real)
    assert len(load(Digits(), Division(), tmp_path / "cache").train) > 1000


def _kept(cache: Path) -> Iterator[Path]:
    return (path for path in cache.iterdir() if path.is_dir())


def test_statistics_are_plain_json(tmp_path: Path) -> None:
    data = load(Digits(), Division(), tmp_path)
    (file,) = tmp_path.glob("digits-*/statistics-*.json")
    assert json.loads(file.read_text()) == {"mean": list(data.mean), "std": list(data.std)}
