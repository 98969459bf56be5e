"""Document: a YAML text as plain values, with the line that each of them stands on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, final

import yaml

from workers.errors import NotFoundError, UserError

Place: TypeAlias = tuple[str | int, ...]

LARGEST = 1 << 20  # bytes of a file
DEEPEST = 16  # mappings and lists inside each other
MOST = 20_000  # values, aliases counted each time they stand for something


@final
@dataclass(frozen=True)
class Document:
    """What a file says; `lines` has the line of every value by its keys, counted from 1."""

    values: Mapping[str, Any]
    name: str = "the job"
    lines: Mapping[Place, int] = field(default_factory=dict)

    def line(self, place: Place) -> int | None:
        """Where `place` stands, or what is around it where it is missing."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place) if place else None


@final
class _Loader(yaml.SafeLoader):
    """The safe loader; it also reads 1e-4 as a number, as YAML 1.2 and JSON do."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def read(path: str | Path) -> Document:
    """The document in a file; `UserError` says what is wrong, and in which line."""
    path = Path(path)
    try:
        if path.stat().st_size > LARGEST:
            raise UserError(f"{path} is larger than {LARGEST:,} bytes: that is no job file")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFoundError(f"there is no file {path}: `nas init` writes one") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is no text in UTF-8: a job file is YAML") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    return parse(text, str(path))


def parse(text: str, name: str = "the job") -> Document:
    """The document that `text` is: one mapping, its keys text, nothing twice, bounded in size and depth."""
    if len(text) > LARGEST:
        raise UserError(f"{name} is larger than {LARGEST:,} characters: that is no job file")
    try:
        root = yaml.compose(text, _Loader)
        lines: dict[Place, int] = {}
        _walk(root, (), lines, name)
        values = yaml.load(text, _Loader)  # a subclass of SafeLoader: plain values only
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1} of {name}" if mark else name
        raise UserError(f"{where} is no YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise UserError(f"{name} is no YAML: {str(error).splitlines()[0]}") from None
    except ValueError as error:  # a date such as 2026-13-45
        raise UserError(f"{name} has a value that cannot be read: {error}") from None
    if not isinstance(values, dict):
        found = "empty" if values is None else f"a {type(values).__name__}"
        raise UserError(f"{name} is {found}, but must be a mapping of keys such as `task:`; `nas init` writes one")
    return Document(values, name, lines)


def _walk(node: Any, place: Place, lines: dict[Place, int], name: str) -> None:
    """Note the line of every value below `node`, and refuse what is too deep, too much, twice or no text."""
    if node is None:
        return
    line = node.start_mark.line + 1
    lines.setdefault(place, line)
    if len(place) > DEEPEST:
        raise UserError(f"line {line} of {name} is nested deeper than {DEEPEST} levels")
    if len(lines) > MOST:
        raise UserError(f"{name} has more than {MOST:,} values: that is no job file")
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            at = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise UserError(f"line {at} of {name} has a key that is no text")
            if key.tag == "tag:yaml.org,2002:merge":
                raise UserError(f"line {at} of {name} merges with <<: write the keys out")
            if key.value in seen:
                raise UserError(f"line {at} of {name} has the key {key.value!r} a second time: keep one of them")
            seen.add(key.value)
            lines[(*place, key.value)] = at
            _walk(value, (*place, key.value), lines, name)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _walk(value, (*place, index), lines, name)
