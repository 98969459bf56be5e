"""Decisions as a job file writes them: `{choice: [sgd, adam]}`, `{range: [0.001, 0.1], log: true}`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from search_spaces.decision import Choice, Clause, Decision, DecisionError, Range, Relation, Value, When, growing


def decision_from_json(record: Mapping[str, Any]) -> Decision:
    """The decision that a job file writes as `{choice: [sgd, adam]}` or `{range: [0.001, 0.1], log: true}`.

    Beside it may stand `when: {optimizer: adam, blocks: {">=": 2}, cell: {in: [a, b]}}`, all of which must hold, with a
    range `log`, `integer` and `points`, with a choice `ordered`: growing numbers are, unless it says no. Raises
    `DecisionError`.
    """
    rest = dict(record)
    when = _when_from_json(rest.pop("when")) if rest.get("when") else None
    if "choice" in rest and "range" not in rest:
        options, ordered = rest.pop("choice"), rest.pop("ordered", None)
        _nothing_left(rest, "choice", "ordered", "when")
        if isinstance(options, str) or not isinstance(options, Sequence):
            raise DecisionError(f"choice is {options!r}, but must be a list of options, as in choice: [sgd, adam]")
        return Choice(tuple(map(_plain, options)), when, _in_order(options) if ordered is None else bool(ordered))
    if "range" in rest and "choice" not in rest:
        bounds, log, integer = rest.pop("range"), rest.pop("log", False), rest.pop("integer", False)
        count = rest.pop("points", 8)
        _nothing_left(rest, "range", "log", "integer", "points", "when")
        if isinstance(bounds, str) or not isinstance(bounds, Sequence) or len(bounds) != 2:
            raise DecisionError(f"range is {bounds!r}, but must be [low, high], as in range: [0.001, 0.1]")
        return Range(number(bounds[0]), number(bounds[1]), bool(log), bool(integer), int(number(count)), when)
    raise DecisionError(f"{dict(record)!r} is no decision: it needs either choice: [a, b, ...] or range: [low, high]")


def decision_to_json(decision: Decision) -> dict[str, Any]:
    """What `decision_from_json` reads back as `decision`."""
    record: dict[str, Any]
    if isinstance(decision, Choice):
        record = {"choice": list(decision.options)}
        record |= {} if decision.ordered == _in_order(decision.options) else {"ordered": decision.ordered}
    else:
        record = {"range": [decision.low, decision.high]}
        record |= {"log": True} if decision.log else {}
        record |= {"integer": True} if decision.integer else {}
        record |= {"points": decision.count} if decision.count != 8 else {}
    if decision.when is not None:
        clauses = decision.when.clauses
        record["when"] = (
            [_clause_to_json(c) for c in clauses]
            if _repeats(clauses)
            else {name: body for clause in clauses for name, body in _clause_to_json(clause).items()}
        )
    return record


def number(value: object) -> float:
    """`value` as a number, whole ones as `int`; YAML reads 1e-4 (without a point) as text, which counts as well."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            raise DecisionError(f"{value!r} is no number: write it like 0.001 or 1.0e-3") from None
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        raise DecisionError(f"{value!r} is no number: write it like 0.001 or 1.0e-3")
    return value


def _in_order(options: Sequence[object]) -> bool:
    """Whether a job file's options are taken as ordered without its saying so."""
    return len(options) > 1 and growing(options)


def _when_from_json(record: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> When:
    """A conjunction; a list of mappings is one too, for when two clauses look at the same decision."""
    records = [record] if isinstance(record, Mapping) else record
    return When(tuple(_clause_from_json(str(name), body) for one in records for name, body in one.items()))


def _clause_from_json(name: str, body: object) -> Clause:
    if not isinstance(body, Mapping):
        return Clause(name, "==", _plain(body))
    if len(body) != 1 or next(iter(body)) not in get_args(Relation):
        raise DecisionError(
            f'when {name}: {dict(body)!r} must be a value, or one of {{">=": a}}, {{"==": a}}, {{in: [a, b]}}'
        )
    relation, value = next(iter(body.items()))
    if relation != "in":
        return Clause(name, relation, _plain(value))
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise DecisionError(f"when {name}: in {value!r} must be a list, as in in: [a, b]")
    return Clause(name, "in", tuple(_plain(one) for one in value))


def _clause_to_json(clause: Clause) -> dict[str, Any]:
    if clause.relation == "==":
        return {clause.name: clause.value}
    value = list(clause.value) if isinstance(clause.value, tuple) else clause.value
    return {clause.name: {clause.relation: value}}


def _repeats(clauses: Sequence[Clause]) -> bool:
    return len({clause.name for clause in clauses}) < len(clauses)


def _plain(value: object) -> Value:
    if isinstance(value, str | int | float | bool):
        return value
    raise DecisionError(f"{value!r} cannot be a value of a decision: use text, a number, true or false")


def _nothing_left(rest: Mapping[str, Any], *known: str) -> None:
    if rest:
        raise DecisionError(
            f"{', '.join(map(repr, rest))} beside {known[0]} means nothing: known are {', '.join(known)}"
        )
