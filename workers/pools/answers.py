"""Answers: what has arrived of what was asked of actors."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, TypeAlias

import ray
from ray.exceptions import RayError

GATHER = 0.002  # seconds that an answer may wait for others

Answer: TypeAlias = tuple[Any, Any]  # a reference of Ray, and the text or the error that it stands for


def arrived(awaited: Sequence[Any], timeout: float, gather: bool) -> list[Answer]:
    """What arrived of `awaited` within `timeout` seconds; `gather` where the actors have other work meanwhile."""
    if not awaited:
        time.sleep(timeout)
        return []
    there, _ = ray.wait(awaited, timeout=timeout)
    if there and len(awaited) > 1:  # what else is there: fewer and larger commits
        if gather:  # a tenth more trials per second
            ray.wait(awaited, num_returns=len(awaited) // 2, timeout=GATHER)
        there, _ = ray.wait(awaited, num_returns=len(awaited), timeout=0)
    try:
        return list(zip(there, ray.get(there), strict=True))
    except RayError:
        answers = [(reference, _text(reference)) for reference in there]
        return sorted(answers, key=lambda answer: isinstance(answer[1], RayError))  # what ended before a death first


def _text(reference: Any) -> str | RayError:
    try:
        text: str = ray.get(reference)
    except RayError as error:
        return error
    return text
