"""Features: by what generated images are judged, in the words for people."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

FEATURES: Mapping[str, str] = MappingProxyType(
    {"classifier": "a classifier trained on the same data", "inception": "torchvision's Inception v3"}
)
