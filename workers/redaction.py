"""Redaction: the address of a journal or of artifacts as people may see it, without its password."""

from __future__ import annotations

import re

HIDDEN = "***"
_USER = re.compile(r"://[^/?#@:]*:")
_PARAMETER = re.compile(
    r"([?&](?!passfile=)[^=&#]{0,64}(?:pass|secret|token|key|credential|signature)[^=&#]{0,64}=)[^&#]*", re.I
)  # bounded: what is read may be somebody's error of megabytes
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,31}://\S+")


def secrets(place: str) -> tuple[str, ...]:
    """What `redacted` hides in `place`, with what stands before and behind it, by which it is found in a file."""
    if "://" not in place:
        return ()
    _, password, _ = _parted(place)
    user = (f":{password}@",) if password is not None else ()
    return user + tuple(found[0] for found in _PARAMETER.finditer(place))


def redacted_text(text: str) -> str:
    """`text` with every address in it `redacted`."""
    return _ADDRESS.sub(lambda found: redacted(found[0]), text)


def redacted(place: str) -> str:
    """`place` with `***` for the password of its user and for parameters that are secret; a folder as it is."""
    if "://" not in place:
        return place
    before, password, rest = _parted(place)
    return _PARAMETER.sub(rf"\1{HIDDEN}", before if password is None else f"{before}{HIDDEN}@{rest}")


def _parted(place: str) -> tuple[str, str | None, str]:
    """What stands before the password, the password and what follows; it goes to the last @, which nobody quoted."""
    head, at, rest = place.rpartition("@")
    found = _USER.search(head) if at else None
    if found is None:
        return place, None, place
    return head[: found.end()], head[found.end() :], rest
