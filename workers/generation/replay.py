"""Replay: generated images of earlier steps, shown to the discriminator again (Shrivastava et al., CVPR 2017)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor


@final
class Replay:
    """At most `size` generated images, by class; `share` of each batch are older ones, whose places new ones take."""

    def __init__(self, share: float, size: int) -> None:
        self.share, self.size = share, size
        self.images: Tensor | None = None
        self.labels = torch.zeros(0, dtype=torch.int64)

    def mixed(self, fresh: Tensor, labels: Tensor | None, generator: torch.Generator) -> Tensor:
        """`fresh` with its last images exchanged for older ones of their classes, as far as there are any.

        Nothing is exchanged before `size` images were kept.
        """
        if not self.share:
            return fresh
        classes = torch.zeros(len(fresh), dtype=torch.int64) if labels is None else labels.cpu()
        if self.images is None or len(self.images) < self.size:
            self._keep(fresh, classes)
            return fresh
        pairs = self._pairs(classes, generator)
        if not pairs:
            return fresh
        new, old = torch.tensor(pairs, device=fresh.device).unbind(1)
        mixed = fresh.clone()
        mixed[new] = self.images[old]
        self.images[old] = fresh[new]
        return mixed

    def _keep(self, fresh: Tensor, classes: Tensor) -> None:
        kept = fresh if self.images is None else torch.cat([self.images, fresh])
        self.images, self.labels = kept[: self.size].clone(), torch.cat([self.labels, classes])[: self.size]

    def _pairs(self, classes: Tensor, generator: torch.Generator) -> list[tuple[int, int]]:
        """Which of the new images are exchanged for which of the old ones, each at most once."""
        places: dict[int, list[int]] = defaultdict(list)
        known = self.labels.tolist()
        for place in torch.randperm(self.size, generator=generator).tolist():
            places[known[place]].append(place)
        wanted = classes.tolist()
        first = len(wanted) - round(self.share * len(wanted))
        return [(new, places[wanted[new]].pop()) for new in range(first, len(wanted)) if places[wanted[new]]]

    def tensors(self) -> Mapping[str, Tensor]:
        """What must be kept to go on exactly."""
        return {} if self.images is None else {"images": self.images.cpu().clone(), "labels": self.labels.clone()}

    def restore(self, tensors: Mapping[str, Tensor], device: torch.device) -> None:
        """Put back what `tensors` gave."""
        if "images" in tensors:
            self.images, self.labels = tensors["images"].clone().to(device), tensors["labels"].clone()
