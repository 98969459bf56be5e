"""Redaction: the address of a journal or of artifacts as people may see it, without its password."""

from __future__ import annotations

import re

HIDDEN = "***"
_USER = re.compile(r"(://[^/?#@:]*:).*@", re.DOTALL)  # to the last @: a password may hold one that nobody quoted
_PARAMETER = re.compile(r"([?&](?!passfile=)[^=&#]*(?:pass|secret|token|key|credential|signature)[^=&#]*=)[^&#]*", re.I)
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")


def secrets(place: str) -> tuple[str, ...]:
    """What `redacted` hides in `place`, with what stands before and behind it, by which it is found in a file."""
    if "://" not in place:
        return ()
    user = [found[0].removeprefix(found[1]) for found in _USER.finditer(place)]
    return tuple(f":{one}" for one in user) + tuple(found[0] for found in _PARAMETER.finditer(place))


def redacted_text(text: str) -> str:
    """`text` with every address in it `redacted`."""
    return _ADDRESS.sub(lambda found: redacted(found[0]), text)


def redacted(place: str) -> str:
    """`place` with `***` for the password of its user and for parameters that are secret; a folder as it is."""
    if "://" not in place:
        return place
    return _PARAMETER.sub(rf"\1{HIDDEN}", _USER.sub(rf"\1{HIDDEN}@", place))
