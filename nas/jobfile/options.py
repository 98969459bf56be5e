"""The options of a plugin, checked against the constructor that will take them."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

from pydantic import PydanticUserError, TypeAdapter, ValidationError

from nas.jobfile.document import Place
from nas.jobfile.mistakes import Mistake, nearest, rule, shown
from search_spaces.decision import DecisionError
from workers.trial import Json

OPEN = "; left to the search it is {range: [low, high]} or {choice: [...]}"


def check(
    place: Place, plugin: Callable[..., Any], options: Mapping[str, Json], given: int = 0, allow_decisions: bool = False
) -> list[Mistake]:
    """What is wrong with `options` for `plugin`, whose first `given` arguments are not options.

    Where an option may be left to the search, a mapping with `range` or `choice` is a decision.
    """
    try:
        signature = inspect.signature(plugin)
    except (TypeError, ValueError):
        return []
    takes = list(signature.parameters.values())[given:]
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in takes):
        known = {**dict.fromkeys(options, inspect.Parameter.empty), **_named(plugin, takes)}
    else:
        known = _named(plugin, takes)
    mistakes = []
    for name, value in options.items():
        here = (*place, name)
        if name not in known:
            mistakes.append(Mistake(here, f"{name!r} is no option of {place[0]}: {nearest(name, known)}"))
        elif allow_decisions and is_decision(value):
            mistakes += _decision(here, value)
        else:
            mistakes += _value(here, known[name], value, OPEN if allow_decisions else "")
    missing = [p.name for p in takes if p.name in known and p.default is p.empty and p.name not in options]
    if missing:
        mistakes.append(
            Mistake(
                place, f"{place[0]} needs the option {missing[0]}: write {place[0]}: {{name: ..., {missing[0]}: ...}}"
            )
        )
    return mistakes


def is_decision(value: Json) -> bool:
    """Whether a job leaves this option to the search."""
    return isinstance(value, Mapping) and bool({"range", "choice"} & set(value))


def _named(plugin: Callable[..., Any], takes: list[inspect.Parameter]) -> dict[str, Any]:
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {p.name: _annotation(plugin, p) for p in takes if p.kind in named}


def _annotation(plugin: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    """The parameter's type; `empty` where its text names something that only a type checker knows."""
    if not isinstance(parameter.annotation, str):
        return parameter.annotation
    owners = plugin.__mro__ if isinstance(plugin, type) else (plugin,)
    for owner in owners:
        written = {"__annotations__": {parameter.name: parameter.annotation}, "__module__": owner.__module__}
        try:
            return get_type_hints(type("Written", (), written))[parameter.name]
        except (NameError, AttributeError, TypeError, SyntaxError):
            continue
    return parameter.empty


def _decision(place: Place, value: Mapping[str, Json]) -> list[Mistake]:
    from search_spaces.decision_json import decision_from_json

    try:
        decision_from_json(value)
    except DecisionError as error:
        return [Mistake(place, f"{place[-1]}: {error}")]
    return []


def _value(place: Place, annotation: Any, value: Json, hint: str) -> list[Mistake]:
    """What is wrong with one value, read strictly, as JSON would be: no text for a number, lists for tuples."""
    if annotation is inspect.Parameter.empty:
        return []
    try:
        TypeAdapter(annotation).validate_json(json.dumps(value), strict=True)
    except ValidationError as failure:
        error = failure.errors(include_url=False)[0]
        text = f"{place[0]}.{place[-1]} is {shown(value)}, but {rule(error)}"
        return [Mistake(place, text + hint if isinstance(value, Mapping) else text)]
    except (PydanticUserError, TypeError, ValueError, NameError):
        return []  # a type that pydantic does not know: the constructor will say
    return []
