#!/usr/bin/env python3
"""Say whether this node of Ray is well: its raylet, and where CELLWRIGHT_ROLE is head also the head's own service.

Only what runs here is asked: a worker outlives a head that is away for a while. Any other container is always well.
"""

import os
import sys
from pathlib import Path
from urllib.request import ProxyHandler, Request, build_opener

RAYLET = "http://127.0.0.1:{}/api/local_raylet_healthz"
HEAD = "http://127.0.0.1:{}/api/gcs_healthz"
SECONDS = 8


def token() -> str:
    """What Ray authenticates with; empty where it does not."""
    if "RAY_AUTH_TOKEN" in os.environ:
        return os.environ["RAY_AUTH_TOKEN"]
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH", "/run/secrets/ray_token"))
    return path.read_text(encoding="utf-8").strip() if path.is_file() else ""


def well(url: str) -> bool:
    """Whether the service says `success`."""
    shown = token()
    request = Request(url, headers={"Authorization": f"Bearer {shown}"} if shown else {})
    try:
        with build_opener(ProxyHandler({})).open(request, timeout=SECONDS) as answer:
            return b"success" in answer.read()
    except OSError:
        return False


def main() -> int:
    role = os.environ.get("CELLWRIGHT_ROLE", "")
    asked = []
    if role in ("head", "worker"):
        asked.append(RAYLET.format(os.environ.get("RAY_AGENT_PORT", "52365")))
    if role == "head":
        asked.append(HEAD.format(os.environ.get("RAY_DASHBOARD_PORT", "8265")))
    return 0 if all(map(well, asked)) else 1


if __name__ == "__main__":
    sys.exit(main())
