"""Token: what Ray's job server asks of who comes, where the cluster is not open to all."""

from __future__ import annotations

import os
from pathlib import Path

from workers.errors import UserError


def token() -> str:
    """`$RAY_AUTH_TOKEN`, else the file `$RAY_AUTH_TOKEN_PATH`, else `~/.ray/auth_token`; empty where there is none."""
    found = _found()
    if not (found.isascii() and found.isprintable()) or " " in found:
        raise UserError("Ray's token is one word, and what was found for it is none: `ray get-auth-token` shows it")
    return found


def _found() -> str:
    if given := os.environ.get("RAY_AUTH_TOKEN", "").strip():
        return given
    named = os.environ.get("RAY_AUTH_TOKEN_PATH", "").strip()
    path = Path(named or "~/.ray/auth_token").expanduser()
    try:
        return path.read_text(encoding="utf-8").strip()
    except FileNotFoundError as error:
        if named:
            raise UserError(f"RAY_AUTH_TOKEN_PATH names {path}, which does not exist") from error
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"Ray's token cannot be read from {path}: {error}") from error


def headers() -> dict[str, str]:
    """The headers that carry it."""
    return {"Authorization": f"Bearer {found}"} if (found := token()) else {}
