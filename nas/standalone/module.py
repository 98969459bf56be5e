"""Module: the source of one module, and what its top-level statements bind."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import final


class InlineError(ValueError):
    """The source cannot be made standalone; the message says which name and why."""


@final
@dataclass(frozen=True, slots=True)
class Definition:
    """A name that a module defines at its top level."""

    module: str
    name: str


@final
@dataclass(frozen=True, slots=True)
class Import:
    """What an import binds: a module, or (with `attribute`) something inside one."""

    module: str
    attribute: str | None
    bound: str

    def __str__(self) -> str:
        if self.attribute is None:
            return f"import {self.module}" + (f" as {self.bound}" if self.bound != self.module else "")
        return f"{self.attribute} as {self.bound}" if self.attribute != self.bound else self.attribute


@final
@dataclass(frozen=True)
class Module:
    """The source of one module, and what its top-level statements bind."""

    name: str
    source: str
    is_package: bool = False

    @classmethod
    def find(cls, name: str) -> Module:
        """The module as it would be imported; raises InlineError where there is no source."""
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
            raise InlineError(f"the source of the module {name} cannot be read")
        source = Path(spec.origin).read_text(encoding="utf-8")
        return cls(name, source, spec.submodule_search_locations is not None)

    @cached_property
    def lines(self) -> list[str]:
        return self.source.splitlines()

    @cached_property
    def statements(self) -> list[ast.stmt]:
        """The top-level statements, those under `if TYPE_CHECKING:` and in `try:` among them."""
        found: list[ast.stmt] = []
        waiting: list[ast.stmt] = list(ast.parse(self.source).body)
        for statement in waiting:
            if isinstance(statement, ast.If | ast.Try):
                waiting.extend(statement.body)
            else:
                found.append(statement)
        return found

    @cached_property
    def definitions(self) -> dict[str, ast.stmt]:
        return {name: statement for statement in self.statements for name in _defined(statement)}

    @cached_property
    def imports(self) -> dict[str, Import]:
        found = {}
        for statement in self.statements:
            for one in self._imports(statement):
                found[one.bound] = one
        return found

    def _imports(self, statement: ast.stmt) -> Iterator[Import]:
        if isinstance(statement, ast.Import):
            for alias in statement.names:
                yield Import(alias.name, None, alias.asname or alias.name)
        elif isinstance(statement, ast.ImportFrom):
            package = self.name if self.is_package else self.name.rpartition(".")[0]
            source = importlib.util.resolve_name("." * statement.level + (statement.module or ""), package)
            for alias in statement.names:
                yield Import(source, alias.name, alias.asname or alias.name)


def _defined(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [statement.name]
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    if isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    return [node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]


def neighbours(module: str) -> set[str]:
    """The top-level names whose sources belong with `module`'s: its package, or the modules in the same folder."""
    top = module.partition(".")[0]
    spec = importlib.util.find_spec(top)
    if spec is None or spec.origin is None or spec.submodule_search_locations is not None:
        return {top}
    folder = Path(spec.origin).parent
    return {top} if folder.name == "site-packages" else {top, *(one.stem for one in folder.glob("*.py"))}
