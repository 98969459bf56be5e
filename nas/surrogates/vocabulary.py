"""Vocabulary: a candidate as the sequence of tokens that a surrogate reads."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeAlias, final

from search_spaces.decision import Choice, Value
from search_spaces.decisions import Decisions

Tokens: TypeAlias = tuple[int, ...]


@final
class Vocabulary:
    """Reads the active decisions of a space, in the table's order, as token ids; 0 is padding.

    Decisions that differ only in the first number of their name (the block, the layer) share a *slot*, and those that
    differ in any number share their embeddings, value by value: what is learned of an operation in block 1 holds in
    block 5, as published (Liu et al., ECCV 2018, section 4.3: one embedding for both inputs, one for both operations).
    A decision that switches others on with `>=` (the number of blocks) is left out: the length says it already, and a
    grown candidate then begins with its parent's sequence.

    With `by_family` false every decision has a slot and embeddings of its own, and none is left out: what numbers in
    names mean is not known of any table of decisions.
    """

    def __init__(self, decisions: Decisions, by_family: bool = True) -> None:
        whens = [decision.when for decision in decisions.values() if decision.when]
        self.sizes = {clause.name for when in whens for clause in when.clauses if clause.relation == ">="}
        self.names = tuple(name for name in decisions if not by_family or name not in self.sizes)
        self.slots: list[int] = [0]
        self.embeddings: list[int] = [0]
        self._decisions = decisions
        self._ids: dict[str, tuple[int, ...]] = {}
        self._of: dict[str, dict[Value, int]] = {}
        slots: dict[str, int] = {}
        rows: dict[tuple[str, Value], int] = {}
        known: dict[tuple[str, Value], int] = {}
        for name in self.names:
            decision = decisions[name]
            slot, family = name, name
            if by_family:
                slot, family = re.sub(r"\d+", "", name, count=1), re.sub(r"\d+", "", name)
            values = decision.options if isinstance(decision, Choice) else tuple(range(len(decision.points)))
            for value in values:
                if (slot, value) not in known:
                    known[slot, value] = len(self.slots)
                    self.slots.append(slots.setdefault(slot, len(slots)))
                    self.embeddings.append(rows.setdefault((family, value), len(rows) + 1))
            self._ids[name] = tuple(known[slot, value] for value in values)
            if isinstance(decision, Choice):
                self._of[name] = dict(zip(values, self._ids[name], strict=True))

    def __len__(self) -> int:
        """How many token ids there are, padding included."""
        return len(self.slots)

    def ids(self, name: str) -> Tokens:
        """The token ids of one decision, in the order of its points."""
        return self._ids[name]

    def sequence(self, candidate: Mapping[str, Value]) -> Tokens:
        """The token ids of `candidate`."""
        found = []
        for name in self.names:
            if name in candidate:
                value = candidate[name]
                known = self._of.get(name)
                found.append(known[value] if known else self._ids[name][self._decisions[name].token(value)])
        return tuple(found)
