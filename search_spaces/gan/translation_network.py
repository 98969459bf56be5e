"""TranslationNetwork: one or two generators that translate images, each with the discriminator that judges it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from torch import Tensor, nn

from search_spaces.gan.patch_discriminators import DomainDiscriminator, PatchDiscriminator
from search_spaces.gan.translators import ResidualTranslator, UNet

GENERATORS = {"unet": UNet, "residual": ResidualTranslator}


@final
class TranslationNetwork(nn.Module):
    """Images (batch, inputs, height, width) in [-1, 1][, domains (batch,)] -> (batch, outputs, height, width).

    `generator` translates, `discriminator` judges what it gives. Where images are translated there and back, `back` and
    `back_discriminator` are the other way's. The forward pass is the generator's. Arguments are those of the networks
    (`None`: not there); `kind` says which generator.
    """

    def __init__(
        self,
        kind: str,
        generator: Mapping[str, Any],
        discriminator: Mapping[str, Any],
        back: Mapping[str, Any] | None = None,
        back_discriminator: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.generator = GENERATORS[kind](**generator)
        domains = "domains" in discriminator
        self.discriminator = (DomainDiscriminator if domains else PatchDiscriminator)(**discriminator)
        self.back = None if back is None else GENERATORS[kind](**back)
        self.back_discriminator = None if back_discriminator is None else PatchDiscriminator(**back_discriminator)

    def forward(self, image: Tensor, domain: Tensor | None = None) -> Tensor:
        translated: Tensor = self.generator(image, domain)
        return translated
