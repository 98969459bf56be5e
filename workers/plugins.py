"""The folder is the registry: find a class by its file's name, an entry point, or `package.module:Name`.

A folder may keep families in folders of its own (`search_spaces/cnn`): a plugin's name is its file's all the same.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from inspect import isabstract, isclass
from pathlib import Path
from typing import Any, final

from workers.errors import NotFoundError, UserError, in_words
from workers.trial import Json


@final
@dataclass(frozen=True, slots=True)
class Spec:
    """Which plugin, and its options: what a job file says, and what travels to a worker."""

    name: str
    options: Mapping[str, Json] = field(default_factory=dict)

    def json(self) -> dict[str, Json]:
        return {"name": self.name, "options": dict(self.options)}

    @classmethod
    def from_json(cls, record: Mapping[str, Json]) -> Spec:
        """The spec that `json` gave."""
        return cls(record["name"], record["options"])


def available(folder: str, base: type) -> dict[str, str]:
    """Every plugin of kind `base` in package `folder`: its name to `module:Class`, entry points included."""
    found = {}
    for package in _packages(folder):
        for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
            if not module.ispkg and (one := _only_class(f"{package}.{module.name}", base)) is not None:
                found[module.name] = f"{one.__module__}:{one.__name__}"
    for point in entry_points(group=f"cellwright.{folder}"):
        found[point.name] = point.value
    return found


def load(folder: str, name: str, base: type) -> Any:
    """The class (or, from outside, any callable) that `name` stands for.

    A plain name is a module of the package `folder`, or an entry point of the group `cellwright.FOLDER`;
    `package.module:Name` is looked up as it stands, the current directory included.
    """
    if ":" in name:
        return _from_outside(name)
    for point in entry_points(group=f"cellwright.{folder}"):
        if point.name == name:
            return point.load()
    for package in _packages(folder) if name.isidentifier() else ():
        if importlib.util.find_spec(f"{package}.{name}") is not None:
            one = _only_class(f"{package}.{name}", base)
            if one is not None:
                return one
    known = sorted(available(folder, base))
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise NotFoundError(
        f"{name!r} is no {base.__name__.lower()}: {hint}there are {', '.join(known)}; "
        "your own is written package.module:Name"
    )


def _packages(folder: str) -> list[str]:
    """The package `folder`, and those in it: the families."""
    inner = pkgutil.iter_modules(importlib.import_module(folder).__path__)
    return [folder, *(f"{folder}.{one.name}" for one in inner if one.ispkg)]


def _only_class(module_name: str, base: type) -> type | None:
    """The one finished subclass of `base` that a module defines itself."""
    module = importlib.import_module(module_name)
    ours = [
        one
        for one in vars(module).values()
        if isclass(one) and issubclass(one, base) and one.__module__ == module_name and not isabstract(one)
    ]
    return ours[0] if len(ours) == 1 else None


def _from_outside(name: str) -> Any:
    module_name, _, attribute = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise NotFoundError(
            f"{name!r} names the module {module_name}, but {error.name} cannot be imported: "
            f"it must be installed, or lie beside the job file, or in {here}"
        ) from error
    except Exception as error:
        raise UserError(f"{name!r} cannot be imported: {in_words(error)}") from error
    if not hasattr(module, attribute):
        near = difflib.get_close_matches(attribute, dir(module), n=1)
        raise NotFoundError(
            f"{name!r}: {module_name} has no {attribute}" + (f"; did you mean {near[0]}?" if near else "")
        )
    return getattr(module, attribute)
