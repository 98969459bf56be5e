"""Inlining: a class and all it refers to, gathered from several modules into one standalone source."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, final

from nas.standalone.gathering import FOREIGN_ALLOWED, Gathering
from nas.standalone.module import Definition, Import, InlineError, Module, neighbours

OWN = ("search_spaces",)
Place: TypeAlias = tuple[int, int]  # line and column, both from 0, columns in bytes as `ast` counts
Edit: TypeAlias = tuple[Place, Place, str]  # from, to, new text


@final
@dataclass(frozen=True, slots=True)
class Standalone:
    """Source that needs nothing but what it imports: the imports, the definitions, and what the roots are called."""

    imports: str
    code: str
    names: tuple[str, ...]


def inline(roots: Sequence[str], arguments: object, prune: bool = True) -> Standalone:
    """The classes and functions `roots` (`package.module:Name`) with all that they need.

    With `prune`, a module-level dictionary that is only looked up by name keeps the entries whose name stands in
    `arguments` or in the code. Raises InlineError where something cannot stand alone.
    """
    split = [(module, name) for module, _, name in (root.partition(":") for root in roots)]
    own = {name for module, _ in split for name in neighbours(module)} - FOREIGN_ALLOWED
    gathering = Gathering(frozenset({*OWN, *own}), prune, set(_strings(arguments)))
    found, imported = [], []
    for module, name in split:
        if module.partition(".")[0] in FOREIGN_ALLOWED:
            imported.append(Import(module, name, name))
            continue
        root = gathering.resolve(module, name)
        if not isinstance(root, Definition):
            raise InlineError(f"{module} defines no {name} whose source can be read")
        found.append(root)
    gathering.gather(found)
    gathering.imports.update(imported)
    names = _names(gathering)
    blocks = [_written(gathering, one, names) for one in _ordered(gathering, found)]
    called = {root.name: names[root] for root in found} | {one.bound: one.bound for one in imported}
    code = "\n\n\n".join(dict.fromkeys(blocks))
    return Standalone(_import_lines(gathering.imports), code, tuple(called[name] for _, name in split))


def _strings(value: object) -> Iterator[str]:
    """Every string inside plain JSON."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from (*_strings(key), *_strings(item))
    elif isinstance(value, Sequence):
        for item in value:
            yield from _strings(item)


def _names(gathering: Gathering) -> dict[Definition, str]:
    """What each definition is called in the one file: its name, lengthened where two modules share it."""
    taken = {one.bound.partition(".")[0] for one in gathering.imports}
    names = {}
    for definition in gathering.reached:
        name = definition.name
        while name in taken:
            name = f"{name}_of_{definition.module.rpartition('.')[2]}" if name == definition.name else f"{name}_"
        names[definition] = name
        taken.add(name)
    return names


def _ordered(gathering: Gathering, roots: Sequence[Definition]) -> list[Definition]:
    """Dependencies first, but whatever a statement needs while it is executed before anything else."""

    def needs(definition: Definition, at_once: bool) -> Iterator[Definition]:
        for reference in gathering.reached[definition]:
            target, _ = gathering.target(definition.module, reference)
            if isinstance(target, Definition) and (reference.now or not at_once):
                yield target

    def visit(definition: Definition, at_once: bool, seen: set[Definition], placed: dict[Definition, None]) -> None:
        if definition not in seen:
            seen.add(definition)
            for one in needs(definition, at_once):
                visit(one, at_once, seen, placed)
            placed[definition] = None

    seen: set[Definition] = set()
    pleasant: dict[Definition, None] = {}
    for root in roots:
        visit(root, False, seen, pleasant)
    seen = set()
    order: dict[Definition, None] = {}
    for definition in pleasant:
        visit(definition, True, seen, order)
    return list(order)


def _written(gathering: Gathering, definition: Definition, names: Mapping[Definition, str]) -> str:
    """The source of a definition as it was written, comments above it included, with names changed where needed."""
    module = gathering.module(definition.module)
    statement = module.definitions[definition.name]
    edits: list[Edit] = []
    for reference in gathering.reached[definition]:
        target, node = gathering.target(definition.module, reference)
        if isinstance(target, Definition) and (name := names[target]) != ast.unparse(node):
            edits.append((*_span(node), name))
    if names[definition] != definition.name:
        edits.append(_renamed(module, statement, names[definition]))
    table = gathering.table(definition, statement)
    if table is not None and isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
        return _table(module, statement, table, edits)
    decorators = getattr(statement, "decorator_list", [])
    first = min([statement.lineno, *(one.lineno for one in decorators)]) - 1
    while first > 0 and module.lines[first - 1].startswith("#"):
        first -= 1
    last = (statement.end_lineno or statement.lineno) - 1
    return _text(module, (first, 0), (last, len(module.lines[last].encode())), edits)


def _table(
    module: Module,
    statement: ast.Assign | ast.AnnAssign,
    entries: Iterable[tuple[ast.expr, ast.expr]],
    edits: list[Edit],
) -> str:
    """The assignment of a dictionary with only the given entries, one per line."""
    value = statement.value
    head = _text(module, (statement.lineno - 1, statement.col_offset), _span(value)[0], edits)  # type: ignore[arg-type]
    lines = [f"    {_text(module, _span(key)[0], _span(item)[1], edits)}," for key, item in entries]
    return "\n".join([f"{head}{{", *lines, "}"])


def _span(node: ast.expr) -> tuple[Place, Place]:
    end = (node.end_lineno or node.lineno) - 1, node.end_col_offset or 0
    return (node.lineno - 1, node.col_offset), end


def _renamed(module: Module, statement: ast.stmt, name: str) -> Edit:
    """The edit that gives a definition another name."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        line = statement.lineno - 1
        start = module.lines[line].index(statement.name, statement.col_offset)
        return (line, start), (line, start + len(statement.name)), name
    target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target  # type: ignore[attr-defined]
    if not isinstance(target, ast.Name):
        raise InlineError(f"{module.name} assigns several names at once, one of which another module uses too")
    return (*_span(target), name)


def _text(module: Module, start: Place, end: Place, edits: Iterable[Edit]) -> str:
    """The source between two places (columns in bytes, as `ast` counts) with those edits that lie inside."""
    lines = [line.encode() for line in module.lines]
    lines[end[0]] = lines[end[0]][: end[1]]
    for begin, stop, text in sorted(set(edits), reverse=True):
        if start <= begin and stop <= end:
            line = lines[begin[0]]
            tail = lines[stop[0]][stop[1] :]
            lines[begin[0] : stop[0] + 1] = [line[: begin[1]] + text.encode() + tail]
            end = (end[0] - (stop[0] - begin[0]), end[1])
    chosen = lines[start[0] : end[0] + 1]
    chosen[0] = chosen[0][start[1] :]
    return b"\n".join(chosen).decode()


def _import_lines(imports: Iterable[Import]) -> str:
    """Import statements, merged and sorted: the standard library first, then torch."""
    found = list(imports)
    plain = {str(one) for one in found if one.attribute is None}
    grouped: dict[str, set[str]] = {}
    for one in found:
        if one.attribute is not None:
            grouped.setdefault(one.module, set()).add(str(one))
    lines = sorted(plain) + [
        f"from {module} import {', '.join(sorted(names))}" for module, names in sorted(grouped.items())
    ]
    standard = [line for line in lines if line.split()[1].partition(".")[0] != "torch"]
    torch = [line for line in lines if line not in standard]
    return "\n\n".join("\n".join(group) for group in (standard, torch) if group)
