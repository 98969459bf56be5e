"""Count: what the layers of a generator, a discriminator or an auto-encoder cost, on shapes alone, without torch."""

from __future__ import annotations

from typing import Final, final

from search_spaces.cnn.tally import Shape

KEEPS_INPUT: Final = ("leaky_relu", "elu", "gelu", "silu")  # torch's backward pass reads it; else it reads the output


@final
class Count:
    """Trainable parameters, multiply-adds and activation bytes of the layers that were called, for one example.

    A tensor is kept for the backward pass once, however many layers read it: the input of a convolution, of a linear
    layer, of a normalisation (with its mean and deviation), and the input or the output of an activation. Numbers have
    32 bits.
    """

    def __init__(self) -> None:
        self.parameters = 0
        self.multiply_adds = 0
        self.activation_bytes = 0

    def keep(self, shape: Shape) -> None:
        """The backward pass needs this tensor."""
        if not shape.kept:
            shape.kept = True
            self.activation_bytes += 4 * shape.elements

    def convolution(self, image: Shape, filters: int, kernel: int, stride: int, padding: int, bias: bool) -> Shape:
        """A convolution with a square kernel."""
        height, width = ((size + 2 * padding - kernel) // stride + 1 for size in (image.height, image.width))
        output = Shape(filters, height, width)
        weights = filters * image.channels * kernel * kernel
        self.parameters += weights + (filters if bias else 0)
        self.multiply_adds += weights * height * width
        self.keep(image)
        return output

    def transposed(self, image: Shape, filters: int, kernel: int, size: tuple[int, int], bias: bool) -> Shape:
        """A transposed convolution with a square kernel, whose output is `size` = (height, width)."""
        weights = filters * image.channels * kernel * kernel
        self.parameters += weights + (filters if bias else 0)
        self.multiply_adds += weights * image.height * image.width
        self.keep(image)
        return Shape(filters, *size)

    def linear(self, image: Shape, outputs: int, bias: bool = True) -> Shape:
        """A linear layer on all elements of `image`."""
        self.parameters += (image.elements + (1 if bias else 0)) * outputs
        self.multiply_adds += image.elements * outputs
        self.keep(image)
        return Shape(outputs, 1, 1)

    def norm(self, image: Shape, affine: bool = True) -> Shape:
        """A normalisation by batch or by instance, with scale and shift if `affine`."""
        if affine:
            self.parameters += 2 * image.channels
        self.activation_bytes += 2 * 4 * image.channels
        self.keep(image)
        return Shape(image.channels, image.height, image.width)

    def activation(self, image: Shape, name: str) -> Shape:
        """An activation by its name; `identity` is none."""
        if name == "identity":
            return image
        output = Shape(image.channels, image.height, image.width)
        self.keep(image if name in KEEPS_INPUT else output)
        return output

    def dropout(self, image: Shape, probability: float) -> Shape:
        """A dropout layer, which keeps which elements it dropped."""
        if not probability:
            return image
        self.activation_bytes += 4 * image.elements
        return Shape(image.channels, image.height, image.width)

    def reflected(self, image: Shape, padding: int) -> Shape:
        """The image with a mirrored border."""
        self.keep(image)
        return Shape(image.channels, image.height + 2 * padding, image.width + 2 * padding)
