"""Exit codes, and the one message that an error becomes."""

from __future__ import annotations

import errno
from enum import IntEnum
from typing import final


@final
class Exit(IntEnum):
    """What a calling program can tell from the exit code."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    INTERRUPTED = 130


def explain(error: BaseException) -> tuple[str, Exit]:
    """The message for a person, and the exit code: a mistake has a remedy, anything else a way to its traceback."""
    if isinstance(error, ImportError) and (shadow := _shadow(error)):
        return shadow, Exit.USAGE
    from nas.log import FullError
    from parameter_server.store import StoreError
    from search_spaces.decision import DecisionError
    from search_spaces.space import UnfitError
    from workers.errors import DamagedError, NotFoundError, UserError
    from workers.redaction import redacted_text

    if isinstance(error, NotFoundError):
        return str(error), Exit.NOT_FOUND
    if isinstance(error, DamagedError | FullError | StoreError):
        return str(error), Exit.FAILED
    if isinstance(error, UserError | DecisionError | UnfitError):
        return str(error), Exit.USAGE
    if isinstance(error, FileNotFoundError):
        return f"{error.filename} does not exist: check the path", Exit.NOT_FOUND
    if isinstance(error, OSError):
        return _of_the_system(error), Exit.FAILED
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", Exit.INTERRUPTED
    kind, text = type(error).__name__, redacted_text(str(error))
    return f"{kind}: {text}\nThis should not happen; `nas --debug COMMAND ...` shows where it comes from.", Exit.FAILED


def _shadow(error: ImportError) -> str:
    """What stands in the way where one of our own packages cannot be imported; empty where nothing does."""
    import sys
    from pathlib import Path

    from nas.doctor import OURS, Level, shadows

    if (error.name or "").partition(".")[0] not in OURS:
        return ""
    found = shadows([Path.cwd(), *map(Path, sys.path)])
    return "; ".join(f"{one.found}: {one.remedy}" for one in found if one.level is not Level.FINE)


def _of_the_system(error: OSError) -> str:
    where = error.filename or "a file"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk under {where} is full: make room (`nas gc` removes what no search needs), then `nas resume`"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{where} may not be written or read by this user: {error.strerror}"
    if isinstance(error, IsADirectoryError):
        return f"{where} is a folder, but a file is needed"
    if isinstance(error, NotADirectoryError | FileExistsError):
        return f"{where} is a file, but a folder is needed"
    return f"{where}: {error.strerror or error}"
