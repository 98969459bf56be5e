"""What a job names - task, space, strategy, pool - found, and their options checked."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from nas.jobfile.document import Place
from nas.jobfile.mistakes import Mistake
from nas.jobfile.options import check
from nas.strategy import Strategy
from nas.watcher import Watcher
from search_spaces.space import Space
from workers.errors import UserError
from workers.plugins import Spec, load
from workers.pool import Pool
from workers.size import parsed
from workers.task import Task
from workers.tasks.function import Function
from workers.workshop import space_of, task_of

_KINDS: dict[str, tuple[str, type, int]] = {  # key of the job: its folder, its class, arguments that are no options
    "task": ("workers.tasks", Task, 0),
    "space": ("search_spaces", Space, 0),
    "strategy": ("nas.strategies", Strategy, 1),
    "pool": ("workers.pools", Pool, 1),
    "watch": ("nas.watchers", Watcher, 1),
}


@contextmanager
def beside(folder: str) -> Iterator[None]:
    """Let modules in `folder` be imported for a while."""
    if not folder or folder in sys.path:
        yield
        return
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        if folder in sys.path:
            sys.path.remove(folder)


def find(key: str, spec: Spec) -> Any:
    """The class that a job names under `key`."""
    folder, base, _ = _KINDS[key]
    return load(folder, spec.name, base)


_TRIED: dict[str, Callable[[Spec], object]] = {  # what says more of options than their types
    "task": task_of,
    "space": space_of,
    "watch": lambda spec: getattr(find("watch", spec), "check", len)(spec.options),
}


def check_plugins(named: Mapping[str, Spec | Sequence[Spec] | None], folder: str) -> list[Mistake]:
    """What is wrong with the names and the options of plugins, by their keys in the job."""
    mistakes: list[Mistake] = []
    with beside(folder):
        for key in _KINDS:
            spec = named.get(key)
            if isinstance(spec, Spec):
                mistakes += _one(key, (key,), spec)
            elif spec is not None:
                mistakes += [mistake for i, one in enumerate(spec) for mistake in _one(key, (key, i), one)]
    return mistakes


def _one(key: str, place: Place, spec: Spec) -> list[Mistake]:
    try:
        plugin = find(key, spec)
    except UserError as error:
        return [Mistake(place, str(error))]
    _, base, given = _KINDS[key]
    if key != "task" and not (issubclass(plugin, base) if isinstance(plugin, type) else callable(plugin)):
        what = f"the class {plugin.__name__}" if isinstance(plugin, type) else f"a {type(plugin).__name__}"
        return [Mistake(place, f"{spec.name!r} is {what}, but must be a subclass of {base.__name__}")]
    given_function = key == "task" and not isinstance(plugin, type) and callable(plugin)
    mistakes = check(place, Function if given_function else plugin, spec.options, given, allow_decisions=key == "task")
    if key == "pool" and not mistakes and isinstance(memory := spec.options.get("memory"), str):
        try:
            parsed(memory)
        except ValueError as error:
            return [Mistake((*place, "memory"), f"pool.memory {error}")]
    if mistakes or key not in _TRIED:
        return mistakes
    try:
        _TRIED[key](spec)
    except (ValueError, TypeError, UserError) as error:
        named = next((name for name in spec.options if str(error).startswith(name)), None)
        return [Mistake((*place, named) if named else place, f"{key}: {error}")]
    except Exception as error:  # of a user's own class
        return [Mistake(place, f"{key} {spec.name} cannot be made: {type(error).__name__}: {error}")]
    return []
