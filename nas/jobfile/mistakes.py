"""Mistake: what is wrong in a job, said so that it can be mended; all of them at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from nas.jobfile.document import Document, Place
from workers.errors import UserError


@final
@dataclass(frozen=True)
class Mistake:
    """One thing that is wrong: where, and the value, the rule and the remedy as one sentence."""

    place: Place
    text: str


def refuse(document: Document, mistakes: Sequence[Mistake]) -> None:
    """Raise one `UserError` that lists the mistakes with their lines; nothing where there are none."""
    if not mistakes:
        return
    placed = [(document.line(mistake.place) or 0, mistake.text) for mistake in mistakes]
    lines = [f"line {line}: {text}" if line else text for line, text in sorted(placed, key=lambda pair: pair[0])]
    if len(lines) == 1:
        raise UserError(f"{document.name}: {lines[0]}" if document.lines else lines[0])
    listed = "\n".join(f"  {line}" for line in lines)
    raise UserError(f"{document.name} has {len(lines)} mistakes:\n{listed}")


def dotted(place: Place) -> str:
    """`("objectives", 0, "metric") -> objectives[0].metric`."""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def nearest(name: str, known: Iterable[str]) -> str:
    """`did you mean X?`, or everything there is."""
    names = sorted(known)
    near = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.6)
    if near or len(names) == 1:
        return f"did you mean {(near or names)[0]}?"
    return f"there are {', '.join(names)}" if names else "there are none"


_RULES = {
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping",
    "mapping_type": "must be a mapping",
    "model_type": "must be a mapping",
    "none_required": "must be null",
    "path_type": "must be a path",
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be less than {lt}",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "string_pattern_mismatch": (
        "must be made of letters, digits, dots, dashes and underscores, at most 64, the first a letter or a digit"
    ),
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
}


def rule(error: Mapping[str, Any]) -> str:
    """The rule that a pydantic error reports, in our words."""
    known = _RULES.get(error["type"])
    if known is None:
        return str(error["msg"]).lower()
    return known.format(**error.get("ctx", {}))


def shown(value: object) -> str:
    """A value as a person wrote it, shortened."""
    if value is None:
        return "empty"
    text = {True: "true", False: "false"}[value] if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
