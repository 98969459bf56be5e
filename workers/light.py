"""Light: images as intensities from 0 to 1, as tasks read them that reconstruct or translate images."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from workers.image_data import ImageData


@final
class Light:
    """One part of a data set: pixels (count, channels, height, width) where they are mapped, by their places."""

    def __init__(self, data: ImageData, split: str, device: torch.device) -> None:
        part = data.part(split)
        self.rows, self.device = torch.from_numpy(part.rows), device
        self.pixels, self.labels = torch.from_numpy(part.pixels), torch.from_numpy(part.labels)
        if device.type == "cuda" and len(part) * part.pixels[0].nbytes < torch.cuda.mem_get_info()[0] // 4:
            self.pixels, self.labels = (t[self.rows].to(device) for t in (self.pixels, self.labels))
            self.rows = torch.arange(len(part))

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, places: Tensor) -> Tensor:
        """The images at `places` of this part, between 0 and 1, on the device."""
        found = self.pixels[self.rows[places].to(self.pixels.device)]
        return found.to(self.device, non_blocking=True).to(torch.float32) / 255

    def named(self, places: Tensor) -> Tensor:
        """The classes of the images at `places`."""
        return self.labels[self.rows[places].to(self.labels.device)].to(self.device, non_blocking=True)


def light_of(data: ImageData, split: str, device: torch.device) -> Light:
    """One part of `data` on `device`; brought there once per process, for all children."""
    key = ("light", split, device)
    if key not in data.kept:
        data.kept[key] = Light(data, split, device)
    kept: Light = data.kept[key]
    return kept
