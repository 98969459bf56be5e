"""Gathering: the definitions, from whatever module, that a class needs."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import final

from nas.standalone.module import Definition, Import, InlineError, Module
from nas.standalone.references import Reference, references

FOREIGN_ALLOWED = frozenset(sys.stdlib_module_names) | {"torch"}


@final
@dataclass
class Gathering:
    """The definitions reached so far; `strings` decides which entries of a table looked up by name are kept."""

    own: frozenset[str]
    prune: bool
    strings: set[str]
    modules: dict[str, Module] = field(default_factory=dict)
    reached: dict[Definition, list[Reference]] = field(default_factory=dict)
    imports: set[Import] = field(default_factory=set)
    whole: set[Definition] = field(default_factory=set)

    def module(self, name: str) -> Module:
        if name not in self.modules:
            self.modules[name] = Module.find(name)
        return self.modules[name]

    def is_own(self, module: str) -> bool:
        return module.partition(".")[0] in self.own

    def resolve(self, module: str, name: str) -> Definition | Import | None:
        """What `name` stands for in `module`; None for builtins and what no top-level statement binds."""
        found = self.module(module)
        if name in found.definitions:
            return Definition(module, name)
        one = found.imports.get(name) or found.imports.get(name.partition(".")[0])
        if one is None:
            return None
        if not self.is_own(one.module):
            return one
        if one.attribute is None or self._is_module(f"{one.module}.{one.attribute}"):
            return one
        return self.resolve(one.module, one.attribute)

    def _is_module(self, name: str) -> bool:
        try:
            return importlib.util.find_spec(name) is not None
        except ModuleNotFoundError:
            return False

    def target(self, module: str, reference: Reference) -> tuple[Definition | Import | None, ast.expr]:
        """What a reference stands for, and the expression that names it: `Cell`, or `cells.Cell` of a module."""
        found, node = self.resolve(module, reference.node.id), reference.node
        if not isinstance(found, Import) or not self.is_own(found.module):
            return found, node
        place = found.module if found.attribute is None else f"{found.module}.{found.attribute}"
        if found.attribute is None and "." in found.bound:
            place = found.bound.partition(".")[0]
        for above in reference.attributes:
            if self._is_module(f"{place}.{above.attr}"):
                place = f"{place}.{above.attr}"
                continue
            inner = self.resolve(place, above.attr)
            if isinstance(inner, Definition):
                return inner, above
            break
        raise InlineError(f"{module} uses the module {place} as a value, which cannot be inlined")

    def gather(self, roots: Sequence[Definition]) -> None:
        """Reach everything that `roots` need; again until no further table entry comes to life."""
        size = -1
        while size != (size := len(self.strings) + len(self.whole) + len(self.reached)):
            self.reached.clear()
            self.imports.clear()
            for root in roots:
                self._reach(root)

    def _reach(self, definition: Definition) -> None:
        if definition in self.reached:
            return
        statement = self.module(definition.module).definitions[definition.name]
        found = [one for part in self.parts(definition, statement) for one in references(part)]
        self.reached[definition] = found
        for part in self.parts(definition, statement):
            self.strings |= {
                n.value for n in ast.walk(part) if isinstance(n, ast.Constant) and isinstance(n.value, str)
            }
        for reference in found:
            target, _ = self.target(definition.module, reference)
            if isinstance(target, Import):
                if target.module.partition(".")[0] not in FOREIGN_ALLOWED:
                    raise InlineError(f"{definition.module} imports {target.module}, which an export does not bring")
                self.imports.add(target)
            elif target is not None and target != definition:
                if not reference.lookup:
                    self.whole.add(target)
                self._reach(target)

    def parts(self, definition: Definition, statement: ast.stmt) -> list[ast.AST]:
        """The statement, or the values of those entries of a table that are looked up by a live name."""
        table = self.table(definition, statement)
        if table is None:
            return [statement]
        annotation = [statement.annotation] if isinstance(statement, ast.AnnAssign) else []
        return [*annotation, *(value for _, value in table)]

    def table(self, definition: Definition, statement: ast.stmt) -> list[tuple[ast.expr, ast.expr]] | None:
        """The live entries of a dictionary from strings that is only ever looked up by name; else None."""
        value = statement.value if isinstance(statement, ast.Assign | ast.AnnAssign) else None
        if not self.prune or definition in self.whole or not isinstance(value, ast.Dict):
            return None
        entries: list[tuple[ast.expr, ast.expr]] = []
        for key, item in zip(value.keys, value.values, strict=True):
            if not isinstance(key, ast.Constant) or not isinstance(key.value, str):
                return None
            if key.value in self.strings:
                entries.append((key, item))
        return entries
