from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from workers.augmentation import cutout, flip_and_crop


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 3), st.booleans(), st.integers(2, 6), st.integers(2, 6), st.integers(0, 99))
def test_each_image_is_one_of_the_possible_cuts(padding: int, flip: bool, height: int, width: int, seed: int) -> None:
    images = torch.randint(1, 255, (5, 3, height, width), dtype=torch.uint8, generator=generator(seed))
    answer = flip_and_crop(images, flip, padding, generator(seed))
    padded = functional.pad(images, [padding] * 4)
    for before, after in zip(padded, answer, strict=True):
        views = [before, before.flip(2)] if flip else [before]
        cuts = [
            view[:, top : top + height, left : left + width]
            for view in views
            for top in range(2 * padding + 1)
            for left in range(2 * padding + 1)
        ]
        assert any(torch.equal(cut, after) for cut in cuts)


def test_a_flip_is_tossed_for_each_image() -> None:
    images = torch.arange(4.0).view(1, 1, 1, 4).repeat(4000, 1, 1, 1)
    flipped = (flip_and_crop(images, True, 0, generator())[:, 0, 0, 0] == 3).double().mean()
    assert abs(flipped - 0.5) < 5 * 0.5 / 4000**0.5  # five standard deviations


def test_all_places_are_equally_likely() -> None:
    images = torch.arange(1.0, 10.0).view(1, 1, 3, 3).repeat(9000, 1, 1, 1)
    middle = flip_and_crop(images, False, 1, generator())[:, 0, 1, 1]
    counts = torch.bincount(middle.long(), minlength=10)[1:]
    assert (counts - 1000).abs().max() < 5 * 1000**0.5


def test_equal_generators_give_equal_images() -> None:
    images = torch.rand(8, 1, 6, 6)
    first = cutout(flip_and_crop(images, True, 2, generator(7)), 3, generator(7))
    assert torch.equal(first, cutout(flip_and_crop(images, True, 2, generator(7)), 3, generator(7)))
    assert not torch.equal(first, cutout(flip_and_crop(images, True, 2, generator(8)), 3, generator(8)))


@pytest.mark.parametrize("side", [1, 2, 3, 5, 9])
def test_cutout_blanks_one_square_cut_off_at_the_border(side: int) -> None:
    images = torch.ones(300, 2, 7, 5)
    answer = cutout(images, side, generator())
    assert torch.equal(answer[:, 0], answer[:, 1])
    for image in answer[:, 0]:
        rows, columns = (image == 0).any(1).nonzero(), (image == 0).any(0).nonzero()
        height, width = int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1
        assert int((image == 0).sum()) == height * width  # one filled rectangle
        assert height <= side
        assert width <= side
        inside = rows.min() > 0 and rows.max() < 6 and columns.min() > 0 and columns.max() < 4
        assert not inside or (height == side and width == side)


def test_nothing_asked_changes_nothing() -> None:
    images = torch.rand(2, 1, 4, 4)
    assert flip_and_crop(images, False, 0, generator()) is images
    assert cutout(images, 0, generator()) is images
