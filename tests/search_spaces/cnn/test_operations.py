"""Layers against plain loops and against torch's own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from search_spaces.cnn.cell_space import KNOWN_OPERATIONS
from search_spaces.cnn.operations import (
    FactorizedReduction,
    Pool,
    SameConvolution,
    Style,
    Window,
    convolution,
    operation,
)


def windows(size: int, kernel: int, stride: int) -> list[range]:
    """TensorFlow's SAME: which rows each window covers, negative and too large ones being padding."""
    outputs = -(-size // stride)
    total = max((outputs - 1) * stride + kernel - size, 0)
    return [range(place * stride - total // 2, place * stride - total // 2 + kernel) for place in range(outputs)]


def pooled(image: Tensor, kind: str, kernel: int, stride: int) -> Tensor:
    """A pool that looks at what lies inside the image only."""
    rows, columns = (windows(size, kernel, stride) for size in image.shape[2:])
    result = torch.empty(*image.shape[:2], len(rows), len(columns))
    for i, high in enumerate(rows):
        for j, wide in enumerate(columns):
            part = image[:, :, max(high.start, 0) : high.stop, max(wide.start, 0) : wide.stop].flatten(2)
            result[:, :, i, j] = part.amax(2) if kind == "max" else part.mean(2)
    return result


@pytest.mark.parametrize("size", [(8, 8), (7, 7), (8, 5), (2, 3)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("kind", "kernel"), [("average", 3), ("max", 3), ("max", 5), ("max", 7)])
def test_pools_leave_the_padding_out(kind: str, kernel: int, stride: int, size: tuple[int, int]) -> None:
    image = torch.randn(2, 3, *size)
    assert torch.allclose(Pool(kind, kernel, stride, Style())(image), pooled(image, kind, kernel, stride), atol=1e-6)


@pytest.mark.parametrize("size", [(8, 8), (7, 6), (5, 9)])
@pytest.mark.parametrize("stride", [(2, 2), (1, 2), (3, 2)])
@pytest.mark.parametrize(("kernel", "dilation"), [((3, 3), 1), ((1, 7), 1), ((5, 3), 2), ((1, 1), 1)])
def test_strided_convolutions_pad_as_tensorflow(
    kernel: tuple[int, int], dilation: int, stride: tuple[int, int], size: tuple[int, int]
) -> None:
    layer = convolution(4, 6, Window(kernel, stride, dilation), Style(), groups=2)
    assert isinstance(layer, SameConvolution)
    image = torch.randn(2, 4, *size)
    reach = [(k - 1) * dilation + 1 for k in kernel]
    first = [windows(n, r, s)[0].start for n, r, s in zip(size, reach, stride, strict=True)]
    last = [windows(n, r, s)[-1].stop - n for n, r, s in zip(size, reach, stride, strict=True)]
    around = nn.functional.pad(image, (-first[1], last[1], -first[0], last[0]))
    expected = nn.functional.conv2d(around, layer.weight, None, stride, 0, dilation, 2)
    assert torch.allclose(layer(image), expected, atol=1e-5)


@pytest.mark.parametrize("code", ["tensorflow", "timm", "darts"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("inputs", [4, 6])
@pytest.mark.parametrize("name", KNOWN_OPERATIONS)
def test_every_operation_gives_the_shape_that_is_asked_for(name: str, inputs: int, stride: int, code: str) -> None:
    layer = operation(name, inputs, 6, stride, Style(code))
    assert layer(torch.randn(2, inputs, 7, 8)).shape == (2, 6, -(-7 // stride), 8 // stride)


def test_separable_convolutions_are_applied_twice_and_dilated_ones_once() -> None:
    def weights(name: str) -> int:
        return sum(w.numel() for w in operation(name, 8, 16, 2, Style()).parameters() if w.dim() == 4)

    assert weights("separable_5x5") == 8 * 25 + 8 * 16 + 16 * 25 + 16 * 16
    assert weights("dilated_separable_5x5") == 8 * 25 + 8 * 16
    assert weights("factorized_7x7") == 8 * 16 * 7 + 16 * 16 * 7
    assert weights("dilated_3x3") == 8 * 16 * 9


def test_a_factorized_reduction_sees_every_pixel_it_says_it_sees() -> None:
    """Its first half samples the even pixels, its second the odd ones, zeros beyond the border."""
    reduction = FactorizedReduction(1, 2, Style(), relu=False).eval()
    with torch.no_grad():
        reduction.straight.weight.fill_(1.0)
        reduction.shifted.weight.fill_(1.0)
    for size in (4, 5):
        image = torch.arange(1.0, size * size + 1).reshape(1, 1, size, size)
        even, odd = reduction(image)[0] * (1 + 1e-5) ** 0.5
        assert torch.allclose(even, image[0, 0, ::2, ::2])
        inside = image[0, 0, 1::2, 1::2]
        assert torch.allclose(odd[: inside.shape[0], : inside.shape[1]], inside)
        assert odd.sum().item() == pytest.approx(inside.sum().item())


def test_an_unknown_operation_is_an_error() -> None:
    with pytest.raises(ValueError, match="is no operation"):
        operation("convolve_3x3", 1, 1, 1, Style())
