"""References: which names of its module a statement uses, and whether it needs them at once or only when called."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias, final

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
Comprehension: TypeAlias = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


@final
@dataclass(frozen=True, slots=True)
class Reference:
    """A name that is read and not bound locally.

    `attributes` are the attribute accesses around it, innermost first (`a.b.c` of `a`); `now` says that it is needed
    while the statement is executed, `lookup` that it stands in `name[key]`, `name.get(key)` or `key in name`, the key
    being handed on, not computed.
    """

    node: ast.Name
    attributes: tuple[ast.Attribute, ...]
    now: bool
    lookup: bool


def references(statement: ast.AST) -> list[Reference]:
    """The references of a top-level statement or of an expression, in source order."""
    visitor = _Visitor()
    visitor.visit(statement)
    return visitor.found


@final
class _Visitor(ast.NodeVisitor):
    """Walks a statement, with the nodes above the current one and the names that are bound around it."""

    def __init__(self) -> None:
        self.found: list[Reference] = []
        self.above: list[ast.AST] = []
        self.local: list[set[str]] = []
        self.late = 0

    def visit(self, node: ast.AST) -> None:
        self.above.append(node)
        super().visit(node)
        self.above.pop()

    def visit_Name(self, node: ast.Name) -> None:
        if not isinstance(node.ctx, ast.Load) or any(node.id in names for names in self.local):
            return
        attributes: list[ast.Attribute] = []
        around = self.above[:-1]
        while around and isinstance(around[-1], ast.Attribute):
            attributes.append(around.pop())  # type: ignore[arg-type]
        self.found.append(Reference(node, tuple(attributes), not self.late, self._lookup(node)))

    def _lookup(self, node: ast.Name) -> bool:
        parent = self.above[-2] if len(self.above) > 1 else None
        if isinstance(parent, ast.Subscript) and parent.value is node:
            return isinstance(parent.slice, ast.Name | ast.Attribute | ast.Subscript | ast.Constant)
        if isinstance(parent, ast.Compare) and node in parent.comparators:
            return all(isinstance(operator, ast.In | ast.NotIn) for operator in parent.ops)
        return False

    def visit_FunctionDef(self, node: Function) -> None:
        self._now([*node.decorator_list, *node.args.defaults, *(d for d in node.args.kw_defaults if d is not None)])
        arguments = _arguments(node.args)
        self._late([one.annotation for one in arguments if one.annotation], set())
        self._late([node.returns] if node.returns else [], set())
        stored = {n.id for part in node.body for n in ast.walk(part) if isinstance(n, ast.Name) and _stores(n)}
        self._late(node.body, stored | {one.arg for one in arguments} | _nested(node.body))

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._now([*node.args.defaults, *(d for d in node.args.kw_defaults if d is not None)])
        self._late([node.body], {one.arg for one in _arguments(node.args)})

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._late([node.annotation], set())
        self._now([node.target, *([node.value] if node.value else [])])

    def visit_ListComp(self, node: Comprehension) -> None:
        self.local.append({n.id for g in node.generators for n in ast.walk(g.target) if isinstance(n, ast.Name)})
        self.generic_visit(node)
        self.local.pop()

    visit_SetComp = visit_DictComp = visit_GeneratorExp = visit_ListComp  # noqa: N815

    def _now(self, nodes: Iterable[ast.AST]) -> None:
        for node in nodes:
            self.visit(node)

    def _late(self, nodes: Iterable[ast.AST], local: set[str]) -> None:
        self.late += 1
        self.local.append(local)
        self._now(nodes)
        self.local.pop()
        self.late -= 1


def _arguments(arguments: ast.arguments) -> list[ast.arg]:
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return [*named, *(one for one in (arguments.vararg, arguments.kwarg) if one is not None)]


def _stores(name: ast.Name) -> bool:
    return isinstance(name.ctx, ast.Store)


def _nested(body: Iterable[ast.AST]) -> set[str]:
    """Functions, classes and imports inside a body bind their names there."""
    found: set[str] = set()
    for node in (inner for part in body for inner in ast.walk(part)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
    return found
