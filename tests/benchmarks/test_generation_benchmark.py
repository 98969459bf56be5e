"""The benchmark of generators: its data, its ceiling, what it says."""

from __future__ import annotations

import gzip
from pathlib import Path

import generation
import numpy as np
import pytest

from search_spaces.gan.published_gans import DCGAN
from workers.errors import NotFoundError
from workers.plugins import Spec
from workers.workshop import space_of, task_of


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Fashion-MNIST's four files with twenty images each."""
    folder = tmp_path / "fashion_mnist"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (20, 28, 28), dtype=np.uint8)
    for prefix in ("train", "t10k"):
        (folder / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes(16) + pixels.tobytes()))
        labels = (np.arange(20) % 10).astype(np.uint8)
        (folder / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(bytes(8) + labels.tobytes()))
    return tmp_path


def test_the_ceiling_is_what_the_built_dcgan_has(data: Path, tmp_path: Path) -> None:
    setting = generation.Setting(generation.archive(data, tmp_path))
    space, task = setting.space("dcgan"), setting.task("dcgan")
    built, learned = space_of(Spec(space.pop("name"), space)), task_of(Spec(task.pop("name"), task))
    assert learned.signature.outputs == {"image": (1, 28, 28)}
    candidate = (built.decisions | learned.decisions).candidate(
        {
            **DCGAN,
            "width": 16,
            "stages": 2,
            "objective": "non_saturating",
            "learning_rate": 1e-3,
            "discriminator_rate": 1.0,
        }
    )
    network = built.build(candidate, learned.signature)
    assert setting.ceiling == sum(weight.numel() for weight in network.parameters())


def test_data_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="there is no train-images-idx3"):
        generation.archive(tmp_path, tmp_path)


def test_a_verdict_needs_more_than_its_interval() -> None:
    assert generation.verdict([9.0, 9.1, 8.9], [12.0, 12.2, 11.8]).startswith("lower FID: -3.00")
    assert generation.verdict([12.0, 12.2, 11.8], [9.0, 9.1, 8.9]).startswith("higher FID: +3.00")
    assert generation.verdict([9.0, 20.0], [12.0, 11.0]).startswith("no difference")
    assert generation.verdict([9.0], [12.0]) == "-3.00, of one seed"
