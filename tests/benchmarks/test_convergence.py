"""Four workers learn in every mode what one process does; a mode that does not is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from convergence import DIGITS, MODES, cifar, measure, short

from workers.errors import NotFoundError


@pytest.mark.slow
def test_four_workers_learn_in_each_mode_what_one_process_does() -> None:
    found = measure(DIGITS, MODES, [0])
    assert short(found, allowed=0.02, least=0.9) == []  # of 359 digits, so that one of them is 0.3 %


def test_a_mode_that_is_too_far_below_is_named() -> None:
    found = {"alone": [0.70, 0.72], "async": [0.69, 0.71], "sync": [0.69, 0.70], "bounded": [0.75, 0.75]}
    assert short(found, 0.011, 0.65) == ["sync"]
    assert short(found, 0.011, 0.705) == ["async", "sync"]
    assert short({"alone": [0.6], "async": [0.6]}, 0.01, 0.65) == ["alone", "async"]


def test_the_images_are_found_as_they_lie(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="name its folder"):
        cifar(tmp_path)
    (tmp_path / "cifar10").mkdir()
    (tmp_path / "cifar10" / "cifar10.npz").touch()
    assert cifar(tmp_path).task["dataset"] == str(tmp_path / "cifar10" / "cifar10.npz")
    (tmp_path / "cifar-10-batches-py").mkdir()
    assert "root" not in cifar(tmp_path).task
