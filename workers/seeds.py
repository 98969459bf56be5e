"""Seeds derived from a trial's: equal everywhere, and independent between purposes."""

from __future__ import annotations

import hashlib


def derived(seed: int, *purpose: str | int) -> int:
    """A number of 63 bits for `purpose` (a word, an epoch), which torch's and Python's generators take as a seed."""
    text = "/".join(map(str, (seed, *purpose)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 1
