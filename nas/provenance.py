"""Provenance: which code worked out what is kept, Cellwright's and a user's own, so that no other goes on from it."""

from __future__ import annotations

import hashlib
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from workers.release import PACKAGES, release

if TYPE_CHECKING:
    from nas.strategy import Strategy


def provenance(strategy: Strategy) -> str:
    """The release, and a digest of the source of a strategy and a space that are not ours.

    As they were when it is asked, not when they were imported: ask before anything is worked out. What has no source
    to be read is never the same twice.
    """
    sources = dict(_sources(_kinds(strategy)))
    if not sources:
        return release()
    return f"{release()}, own {uuid.uuid4() if None in sources.values() else _digest(sources)}"


def _kinds(strategy: Strategy) -> Iterator[type]:
    """The classes that a strategy and its space are made of, its rules' included."""
    one: Strategy | None = strategy
    while one is not None:
        yield from type(one).__mro__
        yield from type(one.setting.space).__mro__
        one = getattr(one, "inner", None)


def _sources(kinds: Iterator[type]) -> Iterator[tuple[str, bytes | None]]:
    """What stands in the files of these classes that are nobody's we know: their package, or what lies beside them."""
    for name in {kind.__module__ for kind in kinds}:
        first = name.partition(".")[0]
        if first in PACKAGES or first in sys.stdlib_module_names:
            continue
        package, module = sys.modules.get(first), sys.modules.get(name)
        found = list(_files(package, module))
        if not found:
            yield name, None
        for label, path in found:
            with suppress(OSError):  # it is just being written, say; the digest is another one then
                yield label, path.read_bytes()


def _files(package: ModuleType | None, module: ModuleType | None) -> Iterator[tuple[str, Path]]:
    for folder in map(Path, getattr(package, "__path__", ())):
        for path in sorted(folder.rglob("*.py")):
            yield f"{folder.name}/{path.relative_to(folder).as_posix()}", path
    file = getattr(module, "__file__", None)
    if file is not None and not hasattr(package, "__path__"):
        for path in sorted(Path(file).parent.glob("*.py")):
            yield path.name, path


def _digest(sources: Mapping[str, bytes | None]) -> str:
    seen = hashlib.sha256()
    for name, content in sorted(sources.items()):
        seen.update(f"{name} {len(content or b'')}\n".encode())
        seen.update(content or b"")
    return seen.hexdigest()[:12]
