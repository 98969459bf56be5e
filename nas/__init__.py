"""What to try next, and everything a user touches.

import nas

search = nas.run("job.yaml")
print(search.winner().result.metrics)
search.export("winner")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas.api import Search, resume, run, submit
    from workers.errors import NotFoundError, UserError

__all__ = ["NotFoundError", "Search", "UserError", "resume", "run", "submit"]

_PLACES = {
    "NotFoundError": "workers.errors",
    "Search": "nas.api",
    "UserError": "workers.errors",
    "resume": "nas.api",
    "run": "nas.api",
    "submit": "nas.api",
}


def __getattr__(name: str) -> Any:
    """The public names, imported when they are first used: `import nas` alone imports next to nothing."""
    if name not in _PLACES:
        raise AttributeError(f"module 'nas' has no attribute {name!r}: there are {', '.join(__all__)}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
