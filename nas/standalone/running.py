"""Running a standalone source in this process, as a module of its own."""

from __future__ import annotations

import sys
from types import ModuleType

NAME = "_exported_model"


def run(source: str, path: str = "model.py") -> ModuleType:
    """The module that `source` makes; whatever it raises is raised.

    For sources that `inline` wrote from installed code, never for a file that came from elsewhere.
    """
    module = ModuleType(NAME)
    module.__file__ = path
    sys.modules[NAME] = module  # dataclasses look their module up
    try:
        exec(compile(source, path, "exec", dont_inherit=True), vars(module))
    finally:
        del sys.modules[NAME]
    return module
