"""Policies as JSON, as they travel to a shard and stand in a store's folder; read strictly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields
from typing import Any, Final, TypeVar, cast

from parameter_server.optimizers import SGD, AdaGrad, Adam, Momentum, Optimizer, RMSProp, Sum
from parameter_server.policy import Async, Bounded, Group, Mode, Policy, Sync
from parameter_server.store import StoreError

OPTIMIZERS: Final[dict[str, type[Optimizer]]] = {
    "sgd": SGD, "momentum": Momentum, "adagrad": AdaGrad, "rmsprop": RMSProp, "adam": Adam, "sum": Sum
}  # fmt: skip
MODES: Final[dict[str, type[Mode]]] = {"async": Async, "sync": Sync, "bounded": Bounded}
KINDS: Final = {
    "float": ((int, float), "a number"),
    "float | None": ((int, float, type(None)), "a number or null"),
    "int": ((int,), "a whole number"),
    "bool": ((bool,), "true or false"),
    "str": ((str,), "a text"),
}  # by how a field is annotated

LARGEST: Final = 2**53  # of whole numbers: those above are not all numbers of a JSON reader

T = TypeVar("T")


def policy_to_json(policy: Policy) -> dict[str, Any]:
    """What `policy_from_json` reads back as `policy`."""
    groups = [
        {"optimizer": _named(OPTIMIZERS, group.optimizer), "pattern": group.pattern, "clip": group.clip}
        for group in policy.groups
    ]
    rest = {field.name: getattr(policy, field.name) for field in fields(policy)[2:]}
    return {"groups": groups, "mode": _named(MODES, policy.mode), **rest}


def policy_from_json(data: object) -> Policy:
    """Read a policy; raises `StoreError` for what is missing, unknown, of another type, or out of bounds."""
    record = _record("a policy", data)
    groups, mode = record.pop("groups", None), record.pop("mode", {"name": "async"})
    if not isinstance(groups, list):
        raise StoreError(f"the groups of a policy are {groups!r}, but must be a list of groups, each with an optimizer")
    return _made(
        "a policy", Policy, record, groups=tuple(_group(one) for one in groups), mode=_chosen("mode", MODES, mode)
    )


def _group(data: object) -> Group:
    record = _record("a group", data)
    optimizer = _chosen("optimizer", OPTIMIZERS, record.pop("optimizer", None))
    return _made("a group", Group, record, optimizer=optimizer)


def _named(choices: Mapping[str, type[T]], value: T) -> dict[str, Any]:
    name = next((name for name, kind in choices.items() if type(value) is kind), None)
    if name is None:
        raise StoreError(f"{value!r} does not travel: there are {', '.join(choices)}")
    return {"name": name, **asdict(cast(Any, value))}


def _chosen(what: str, choices: Mapping[str, type[T]], data: object) -> T:
    record = _record(f"the {what}", data)
    name = record.pop("name", None)
    if not isinstance(name, str) or name not in choices:
        raise StoreError(f"the {what} is called {name!r}, but there are {', '.join(choices)}")
    return _made(f"the {what} {name}", choices[name], record)


def _record(what: str, data: object) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise StoreError(f"{what} is {data!r}, but must be an object with keys")
    return dict(data)


def _made(what: str, kind: type[T], record: dict[str, Any], **known: Any) -> T:
    """An object of a dataclass, all of whose other fields are plain."""
    plain = {field.name: field for field in fields(cast(Any, kind)) if field.name not in known}
    if unknown := sorted(set(record) - set(plain)):
        raise StoreError(f"{what} has the key {unknown[0]!r}, which it cannot have; it can have {', '.join(plain)}")
    for name, field in plain.items():
        if name in record:
            types, rule = KINDS.get(str(field.type), ((str,), "a text"))
            value = record[name]
            too_large = isinstance(value, int) and abs(value) > LARGEST
            if not isinstance(value, types) or (isinstance(value, bool) and bool not in types) or too_large:
                raise StoreError(f"{name} of {what} is {value!r}, but must be {rule}")
        elif field.default is MISSING:
            raise StoreError(f"{what} has no {name}: give it one")
    return kind(**known, **record)
