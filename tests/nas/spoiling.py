"""JSON as somebody else might have written it: of the same shape, but for a place where something else stands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

OTHERS: tuple[Any, ...] = (
    *(None, True, False, "", "x", "completed", "-1", [], {}, [[]], {"a": {}}, 0, 1, -1, 2**40, 10**400),
    *(0.5, -0.5, 1e308, float("nan"), float("inf"), float("-inf")),
)


def places(said: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to everything inside."""
    for key, value in said.items() if isinstance(said, dict) else enumerate(said) if isinstance(said, list) else ():
        yield (*way, key)
        yield from places(value, (*way, key))


@st.composite
def spoiled(draw: st.DrawFn, said: Any) -> Any:
    """`said`, which is changed, with something else in up to three places, or nothing, or the same twice."""
    for _ in range(draw(st.integers(1, 3))):
        ways = list(places(said))
        if not ways:
            return said
        *way, last = draw(st.sampled_from(ways))
        inside = said
        for key in way:
            inside = inside[key]
        how = draw(st.sampled_from(("other", "other", "gone", "twice")))
        if how == "other":
            inside[last] = draw(st.sampled_from(OTHERS))
        elif how == "gone":
            del inside[last]
        elif isinstance(inside, list):
            inside.append(inside[last])
        else:
            inside[f"{last}x"] = inside[last]
    return said
