"""torchvision's Inception v3 as the extractor: its 2,048 features, as FID was defined, where its weights can be had."""

from __future__ import annotations

from typing import Any, final

from torch import Tensor, nn
from torch.nn import functional

from workers.errors import UserError
from workers.generation.extractor import Extractor
from workers.generation.metrics_library import declare_operators

SIDE = 299
REMEDY = "use features: classifier, which needs nothing, or pip install torchvision and put its weights where it looks"


@final
class Inception(Extractor):
    """Inception v3 on images of three channels, 299 pixels a side; as published, it reads levels from -1 to 1.

    torchvision's weights are not those of the published FID, so that figures are near those of papers, not equal.
    """

    width = 2048

    def __init__(self, network: Any) -> None:
        super().__init__()
        network.transform_input = False  # which would undo the normalisation of ImageNet
        self.classes: nn.Linear = network.fc
        network.fc = nn.Identity()
        self.network: nn.Module = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        colours = images.expand(-1, 3, -1, -1)
        large = functional.interpolate(colours, (SIDE, SIDE), mode="bilinear", antialias=True)
        features: Tensor = self.network(large)
        logits: Tensor = self.classes(features)
        return features, logits


def inception() -> Inception:
    """With the weights for ImageNet, downloaded by torchvision where they are not there yet."""
    declare_operators()
    try:
        from torchvision.models import Inception_V3_Weights, inception_v3

        network = inception_v3(weights=Inception_V3_Weights.IMAGENET1K_V1)
    except (ImportError, RuntimeError, OSError) as error:
        raise UserError(f"torchvision's Inception cannot be had here ({error}): {REMEDY}") from error
    return Inception(network.eval().requires_grad_(False)).eval()
