"""Published pairs as points of the space `gan`."""

from __future__ import annotations

from typing import Final

from search_spaces.decisions import Candidate

DCGAN: Final = Candidate(
    {
        "generator": "plain",
        "width": 64,
        "discriminator": "plain",
        "discriminator_width": 1.0,
        "discriminator_norm": "batch",
        "discriminator_dropout": 0.0,
        "stages": 4,
    }
)  # Radford et al., ICLR 2016, for images of 64x64

AUTOGAN: Final = Candidate(
    {
        "generator": "cells",
        "width": 256,
        "discriminator": "cells",
        "discriminator_width": 0.5,
        "discriminator_norm": "spectral",
        "discriminator_dropout": 0.0,
        "discriminator_pool": "average",
        "stages": 3,
        "stage1_order": "pre",
        "stage1_norm": "none",
        "stage1_upsampling": "nearest",
        "stage1_shortcut": True,
        "stage2_order": "pre",
        "stage2_norm": "none",
        "stage2_upsampling": "bilinear",
        "stage2_shortcut": True,
        "stage2_skip1": True,
        "stage3_order": "pre",
        "stage3_norm": "none",
        "stage3_upsampling": "nearest",
        "stage3_shortcut": False,
        "stage3_skip1": True,
        "stage3_skip2": True,
    }
)  # Gong et al., ICCV 2019: the first of the three found for CIFAR-10, FID 12.42; images of 32x32, noise of 128
