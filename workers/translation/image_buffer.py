"""ImageBuffer: generated images of earlier steps, some of which the discriminator sees in the place of new ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor


@final
class ImageBuffer:
    """At most `size` images; once full, every other new image changes places with one of them.

    By CycleGAN's rule for what Shrivastava et al., CVPR 2017, propose: of a new image a coin decides whether it is
    shown itself, or takes the place of a kept one, drawn evenly, which is shown. While there is room, new ones are kept
    and shown.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.kept: list[Tensor] = []

    def shown(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """What a discriminator is to see of `images`, which have no gradient."""
        if not self.size:
            return images
        found = []
        for image in images:
            if len(self.kept) < self.size:
                self.kept.append(image.clone())
                found.append(image)
            elif float(torch.rand((), generator=generator)) < 0.5:
                place = int(torch.randint(self.size, (), generator=generator))
                found.append(self.kept[place])
                self.kept[place] = image.clone()
            else:
                found.append(image)
        return torch.stack(found)

    def tensors(self) -> Mapping[str, Tensor]:
        """What must be kept to go on exactly."""
        return {"images": torch.stack(self.kept).cpu()} if self.kept else {}

    def restore(self, tensors: Mapping[str, Tensor], device: torch.device) -> None:
        """Put back what `tensors` gave."""
        self.kept = list(tensors["images"].to(device)) if "images" in tensors else []
