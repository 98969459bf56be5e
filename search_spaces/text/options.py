"""What spaces of text classifiers share: rules for their options, and which texts they read."""

from __future__ import annotations

from collections.abc import Sequence

from search_spaces.decision import Choice, DecisionError, When
from search_spaces.space import Signature, Space, UnfitError, require

ACTIVATIONS = ("relu", "tanh", "elu", "gelu")


def rising(name: str, values: Sequence[float], least: float, below: float = float("inf")) -> tuple[float, ...]:
    """`values` as numbers that grow, from `least` on and `below` a bound; DecisionError names the option otherwise."""
    found = tuple(values)
    if not found or min(found) < least or max(found) >= below or list(found) != sorted(set(found)):
        bound = f" and below {below:g}" if below < float("inf") else ""
        raise DecisionError(
            f"{name} is {list(found)}, but must be rising numbers from {least:g} on{bound}, at least one"
        )
    return found


def named(name: str, values: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """`values` as names out of `known`, each once; DecisionError names the option otherwise."""
    found = tuple(values)
    if not found or not set(found) <= set(known) or len(set(found)) < len(found):
        raise DecisionError(f"{name} is {list(found)}, but must be some of {', '.join(known)}, each once")
    return found


def ordered(values: Sequence[float], when: When | None = None) -> Choice:
    """One of numbers, those beside each other being alike."""
    return Choice(tuple(values), when, ordered=True)


def check_texts(space: Space, signature: Signature, documents: bool) -> None:
    """Raise `UnfitError` unless the task classifies texts, or `documents` of sentences."""
    kind, wanted = "text_classification", 2 if documents else 1
    if signature.kind == kind and len(signature.inputs.get("tokens", ())) == 3 - wanted:
        read, given = ("documents", "single texts") if documents else ("single texts", "documents")
        raise UnfitError(
            f"{type(space).__name__} reads {read}, but the task gives {given}: set the task's option sentences to "
            f"{str(documents).lower()}, or choose another space"
        )
    require(space, signature, kind, {"tokens": wanted}, {"logits": 1})
