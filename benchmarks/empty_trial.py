"""A trial with nothing in it, in a space of 20 decisions: what remains is what a search itself costs."""

from __future__ import annotations

from search_spaces.decision import Choice, Decision, Range

decisions: dict[str, Decision] = {
    **{f"choice_{i}": Choice(("a", "b", "c", "d")) for i in range(10)},
    **{f"integer_{i}": Range(1, 64, integer=True) for i in range(5)},
    **{f"rate_{i}": Range(1e-5, 1.0, log=True) for i in range(5)},
}


def train(values: dict[str, object]) -> float:
    """Nothing is learnt."""
    return 0.0


train.decisions = decisions  # type: ignore[attr-defined]
