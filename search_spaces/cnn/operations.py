"""The layers that cells are made of, as `nn.Module`s: ReLU, convolution, batch normalisation, in that order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from search_spaces.cnn.padding import same_padding


@final
@dataclass(frozen=True)
class Style:
    """Whose code is followed where the papers leave it open, and the epsilon of batch normalisation.

    | code | strided layers pad | strided average pools | identity with stride 2 |
    |---|---|---|---|
    | `tensorflow` (NASNet and PNAS as published) | as TensorFlow's SAME does | leave the padding out | ReLU-1x1-norm |
    | `timm` | the same | count the padding as zeros | the same |
    | `darts` | k//2 on every side | leave the padding out | factorized reduction |
    """

    code: str = "tensorflow"
    epsilon: float = 1e-5

    def norm(self, filters: int) -> nn.BatchNorm2d:
        return nn.BatchNorm2d(filters, eps=self.epsilon)


@final
class SameConvolution(nn.Conv2d):
    """A strided convolution without bias that pads as TensorFlow's SAME: the odd pixel goes right and below."""

    def forward(self, input: Tensor) -> Tensor:
        extents = [(k - 1) * d + 1 for k, d in zip(self.kernel_size, self.dilation, strict=True)]
        top, bottom = same_padding(input.shape[2], extents[0], self.stride[0])
        left, right = same_padding(input.shape[3], extents[1], self.stride[1])
        padding = (top, left)
        if (top, left) != (bottom, right):
            input, padding = functional.pad(input, (left, right, top, bottom)), (0, 0)
        return functional.conv2d(input, self.weight, None, self.stride, padding, self.dilation, self.groups)


@final
class Pool(nn.Module):
    """The maximum or average over a window; where it lies half outside, the outside does not count.

    (batch, channels, height, width) -> (batch, channels, ceil(height / stride), ceil(width / stride)).
    """

    def __init__(self, kind: str, kernel: int, stride: int, style: Style) -> None:
        super().__init__()
        self.kind, self.kernel, self.stride = kind, kernel, stride
        self.same = stride > 1 and style.code != "darts"
        self.counted = self.same and style.code == "timm"

    def forward(self, image: Tensor) -> Tensor:
        if not self.same:
            padding = (self.kernel // 2, self.kernel // 2)
        else:
            top, bottom = same_padding(image.shape[2], self.kernel, self.stride)
            left, right = same_padding(image.shape[3], self.kernel, self.stride)
            if self.counted and self.kind == "average":
                return functional.avg_pool2d(
                    functional.pad(image, (left, right, top, bottom)), self.kernel, self.stride
                )
            padding = (top, left)  # the last window may hang over: ceil_mode, equal to SAME
        if self.kind == "max":
            return functional.max_pool2d(image, self.kernel, self.stride, padding, ceil_mode=self.same)
        return functional.avg_pool2d(image, self.kernel, self.stride, padding, self.same, count_include_pad=False)


@final
class Zero(nn.Module):
    """Zeros, in the shape that another operation would give."""

    def __init__(self, filters: int, stride: int) -> None:
        super().__init__()
        self.filters, self.stride = filters, stride

    def forward(self, image: Tensor) -> Tensor:
        height, width = (-(-size // self.stride) for size in image.shape[2:])
        return image.new_zeros(image.shape[0], self.filters, height, width)


@final
class FactorizedReduction(nn.Module):
    """Halve height and width without losing pixels: two 1x1 convolutions, the second on the map shifted by one pixel.

    `filters` must be even; `relu=False` leaves the ReLU before it out.
    """

    def __init__(self, inputs: int, filters: int, style: Style, relu: bool = True) -> None:
        super().__init__()
        self.activation = nn.ReLU() if relu else nn.Identity()
        self.straight = nn.Conv2d(inputs, filters // 2, 1, stride=2, bias=False)
        self.shifted = nn.Conv2d(inputs, filters // 2, 1, stride=2, bias=False)
        self.norm = style.norm(filters)

    def forward(self, image: Tensor) -> Tensor:
        image = self.activation(image)
        shifted = functional.pad(image, (0, 1, 0, 1))[:, :, 1:, 1:]
        normed: Tensor = self.norm(torch.cat([self.straight(image), self.shifted(shifted)], dim=1))
        return normed


@final
@dataclass(frozen=True)
class Window:
    """What a convolution looks at: kernel and stride as (height, width), and the dilation."""

    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    dilation: int = 1


def convolution(inputs: int, filters: int, window: Window, style: Style, groups: int = 1) -> nn.Conv2d:
    """A convolution without bias; the output is ceil(size / stride) high and wide."""
    if max(window.stride) > 1 and style.code != "darts":
        return SameConvolution(
            inputs, filters, window.kernel, window.stride, dilation=window.dilation, groups=groups, bias=False
        )
    height, width = (window.dilation * (size // 2) for size in window.kernel)
    return nn.Conv2d(
        inputs, filters, window.kernel, window.stride, (height, width), window.dilation, groups=groups, bias=False
    )


def pointwise(inputs: int, filters: int, style: Style, stride: int = 1, relu: bool = True) -> nn.Sequential:
    """ReLU (unless left out), 1x1 convolution, batch normalisation: how a map is brought to `filters` channels."""
    layer = convolution(inputs, filters, Window((1, 1), (stride, stride)), style)
    return nn.Sequential(*([nn.ReLU()] if relu else []), layer, style.norm(filters))


def separable(inputs: int, filters: int, window: Window, style: Style) -> list[nn.Module]:
    """ReLU, depthwise convolution on the input's channels, pointwise one to `filters`, batch normalisation."""
    return [
        nn.ReLU(),
        convolution(inputs, inputs, window, style, groups=inputs),
        nn.Conv2d(inputs, filters, 1, bias=False),
        style.norm(filters),
    ]


def operation(name: str, inputs: int, filters: int, stride: int, style: Style) -> nn.Module:
    """The operation `name` from `inputs` to `filters` channels.

    - `separable_KxK`: applied twice, the stride in the first only; `dilated_separable_KxK`: once, dilation 2 (DARTS).
    - `convolution_KxK`; `dilated_3x3`: dilation 2; `factorized_KxK`: 1xK then Kx1, one normalisation after both.
    - `average_pool_KxK`, `max_pool_KxK`: followed by 1x1 and normalisation only where the channels change.
    - `identity`: with a stride or a change of channels as `Style` says. `none`: zeros.
    """
    if name == "none":
        return Zero(filters, stride)
    if name == "identity":
        if stride == 1 and inputs == filters:
            return nn.Identity()
        if stride == 2 and style.code == "darts":
            return FactorizedReduction(inputs, filters, style)
        return pointwise(inputs, filters, style, stride)
    kind, _, size = name.rpartition("_")
    kernel = int(size.partition("x")[0])
    if kind in ("average_pool", "max_pool"):
        pool = Pool(kind.partition("_")[0], kernel, stride, style)
        return pool if inputs == filters else nn.Sequential(pool, *pointwise(inputs, filters, style, relu=False))
    square, strides = (kernel, kernel), (stride, stride)
    if kind == "separable":
        first = separable(inputs, filters, Window(square, strides), style)
        return nn.Sequential(*first, *separable(filters, filters, Window(square), style))
    if kind == "dilated_separable":
        return nn.Sequential(*separable(inputs, filters, Window(square, strides, 2), style))
    if kind == "factorized":
        wide = convolution(inputs, filters, Window((1, kernel), (1, stride)), style)
        high = convolution(filters, filters, Window((kernel, 1), (stride, 1)), style)
        return nn.Sequential(nn.ReLU(), wide, high, style.norm(filters))
    if kind not in ("convolution", "dilated"):
        raise ValueError(f"{name!r} is no operation")
    window = Window(square, strides, 2 if kind == "dilated" else 1)
    return nn.Sequential(nn.ReLU(), convolution(inputs, filters, window, style), style.norm(filters))
