"""Tally: what a forward pass costs, counted on shapes alone and without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from search_spaces.cnn.padding import same_padding


@final
@dataclass(eq=False, slots=True)
class Shape:
    """A tensor that is not there: channels, height, width, and whether the backward pass needs it."""

    channels: int
    height: int
    width: int
    kept: bool = False

    @property
    def elements(self) -> int:
        return self.channels * self.height * self.width


@final
class Tally:
    """Trainable parameters, multiply-adds and activation bytes of the layers that were called, for one example.

    A tensor is kept for the backward pass once, however many layers read it: the input of a convolution, of a linear
    layer, of a batch normalisation (with its mean and deviation) and of a pool (a maximum pool with an index of eight
    bytes per output), the output of a ReLU. Numbers have 32 bits. `same`: strided layers pad as TensorFlow's SAME.
    """

    def __init__(self, same: bool = True) -> None:
        self.same = same
        self.parameters = 0
        self.multiply_adds = 0
        self.activation_bytes = 0

    def keep(self, shape: Shape) -> None:
        """The backward pass needs this tensor."""
        if not shape.kept:
            shape.kept = True
            self.activation_bytes += 4 * shape.elements

    def convolution(
        self,
        image: Shape,
        filters: int,
        kernel: tuple[int, int],
        stride: tuple[int, int] = (1, 1),
        groups: int = 1,
        dilation: int = 1,
    ) -> Shape:
        """A convolution without bias, the output ceil(size / stride) high and wide.

        Where it must pad unevenly it keeps a padded copy instead of its input.
        """
        output = Shape(filters, -(-image.height // stride[0]), -(-image.width // stride[1]))
        self._weigh(output, filters * (image.channels // groups) * kernel[0] * kernel[1])
        if self.same and max(stride) > 1:
            extent = ((kernel[0] - 1) * dilation + 1, (kernel[1] - 1) * dilation + 1)
            image = self.padded(image, extent, stride, evenly=False)
        self.keep(image)
        return output

    def valid_convolution(self, image: Shape, filters: int, kernel: tuple[int, int], stride: int) -> Shape:
        """A convolution without bias and without padding."""
        height, width = (image.height - kernel[0]) // stride + 1, (image.width - kernel[1]) // stride + 1
        output = Shape(filters, height, width)
        self._weigh(output, filters * image.channels * kernel[0] * kernel[1])
        self.keep(image)
        return output

    def padded(self, image: Shape, kernel: tuple[int, int], stride: tuple[int, int], evenly: bool) -> Shape:
        """`image`, its copy padded as SAME being what is kept; even padding makes a copy only where `evenly`."""
        top, bottom = same_padding(image.height, kernel[0], stride[0])
        left, right = same_padding(image.width, kernel[1], stride[1])
        if not evenly and (top, left) == (bottom, right):
            return image
        self.keep(Shape(image.channels, image.height + top + bottom, image.width + left + right))
        return Shape(image.channels, image.height, image.width, kept=True)

    def norm(self, image: Shape) -> Shape:
        """Batch normalisation with scale and shift."""
        self.parameters += 2 * image.channels
        self.activation_bytes += 2 * 4 * image.channels
        self.keep(image)
        return Shape(image.channels, image.height, image.width)

    def relu(self, image: Shape) -> Shape:
        output = Shape(image.channels, image.height, image.width)
        self.keep(output)
        return output

    def pool(self, image: Shape, kind: str, stride: tuple[int, int]) -> Shape:
        """A `max` or `average` pool, the output ceil(size / stride) high and wide."""
        output = Shape(image.channels, -(-image.height // stride[0]), -(-image.width // stride[1]))
        self.keep(image)
        if kind == "max":
            self.activation_bytes += 8 * output.elements
        return output

    def linear(self, image: Shape, outputs: int) -> None:
        """A linear layer with bias on all elements of `image`."""
        self.parameters += (image.elements + 1) * outputs
        self.multiply_adds += image.elements * outputs
        self.keep(image)

    def _weigh(self, output: Shape, weights: int) -> None:
        self.parameters += weights
        self.multiply_adds += weights * output.height * output.width
