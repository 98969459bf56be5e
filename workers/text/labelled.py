"""Labelled: texts with their classes, and where they come from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import final

from workers.errors import UserError

PARTS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("train", "training"), "train"),
        **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
        "test": "test",
        **dict.fromkeys(("", "all"), ""),
    }
)  # what a column or a folder may call a part, and what it is called here; "" is still to be divided


@final
@dataclass(frozen=True)
class Labelled:
    """Texts, the name of each one's class, and the part it belongs to: `train`, `validation`, `test` or "" (none)."""

    texts: Sequence[str]
    labels: Sequence[str]
    parts: Sequence[str]

    def classes(self, place: str) -> tuple[str, ...]:
        """The names of the classes, numbers by their size; raise unless there are two or more. `place` is their source.

        Every class must have a text that can be learned from.
        """
        names = sorted(set(self.labels), key=_by_size)
        if len(names) < 2:
            found = f"only the class {names[0]!r}" if names else "no text"
            raise UserError(f"{place} holds {found}, but at least 2 classes are needed: give texts of others, too")
        learned = {label for label, part in zip(self.labels, self.parts, strict=True) if part in ("", "train")}
        if lacking := [name for name in names if name not in learned]:
            raise UserError(
                f"the class {lacking[0]!r} of {place} has no text to be learned from: give it some in its training "
                "part, or leave it out"
            )
        return tuple(names)


class TextSource(ABC):
    """Where labelled texts come from: frozen and hashable; `stamp` changes when the texts do."""

    @property
    @abstractmethod
    def place(self) -> str:
        """Where the texts are, for messages."""

    @abstractmethod
    def stamp(self) -> str:
        """Which texts these are, cheap to ask for; raise with a remedy where there are none."""

    @abstractmethod
    def read(self) -> Labelled:
        """The texts; raise with a remedy where they are not what they should be."""


def _by_size(name: str) -> tuple[int, int, str]:
    return (0, int(name), name) if name.isdecimal() and name.isascii() else (1, 0, name)
