"""Signatures of every kind, small, and those of them that a space builds for."""

from __future__ import annotations

from contextlib import suppress

from search_spaces.space import Signature, Space, UnfitError

SIGNATURES = {
    "digits": Signature("image_classification", {"image": (1, 8, 8)}, {"logits": (10,)}),
    "photographs": Signature("image_classification", {"image": (3, 32, 32)}, {"logits": (100,)}),
    "characters": Signature("language_model", {"tokens": (7,)}, {"logits": (7, 30)}, {"tokens": 30}),
    "sentences": Signature("text_classification", {"tokens": (9,)}, {"logits": (4,)}, {"tokens": 50}),
    "documents": Signature("text_classification", {"tokens": (3, 6)}, {"logits": (4,)}, {"tokens": 50}),
    "pairs": Signature(
        "sequence_to_sequence", {"source": (8,), "target": (6,)}, {"logits": (6, 40)}, {"source": 40, "target": 40}
    ),
    "noise": Signature("image_generation", {"noise": (16,)}, {"image": (1, 8, 8)}),
    "labelled noise": Signature(
        "image_generation", {"noise": (16,), "label": ()}, {"image": (3, 32, 32)}, {"label": 10}
    ),
    "copies": Signature("reconstruction", {"image": (1, 8, 8)}, {"reconstruction": (1, 8, 8)}),
    "translations": Signature("image_translation", {"image": (1, 8, 8)}, {"translated": (1, 8, 8)}),
    "colours": Signature("image_translation", {"image": (1, 32, 32)}, {"translated": (3, 32, 32)}),
    "domains": Signature(
        "image_translation", {"image": (3, 32, 32), "domain": ()}, {"translated": (3, 32, 32)}, {"domain": 4}
    ),
}


def fitting(space: Space) -> list[Signature]:
    """What `space` builds for, out of `SIGNATURES`."""
    found = []
    for signature in SIGNATURES.values():
        with suppress(UnfitError):
            space.check(signature)
            found.append(signature)
    return found
