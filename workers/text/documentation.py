"""Documentation: paragraphs of the documentation that CPython carries, to be told apart by what they are about."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import final

from workers.text.labelled import Labelled, TextSource
from workers.text.tokenizing import tokens_of

SUBJECTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "statements": ("compound", "import", "assignment"),
        "special methods": ("specialnames",),
        "types": ("types",),
        "strings": ("string-methods", "formatstrings"),
        "collections": ("typesseq", "typesmapping"),
        "debugger": ("debugger",),
    }
)  # classes, and topics of `pydoc_data.topics`
SHORTEST = 8  # words of a paragraph: what is shorter is a heading or a piece of code


@final
@dataclass(frozen=True)
class Documentation(TextSource):
    """Some 1,000 paragraphs of six subjects from `pydoc_data.topics`: equal for one version of Python, ready anywhere.

    A paragraph that occurs twice is left out the second time.
    """

    @property
    def place(self) -> str:
        return "the documentation of Python"

    def stamp(self) -> str:
        return sys.version

    def read(self) -> Labelled:
        from pydoc_data.topics import topics

        found: dict[str, str] = {}
        for subject, names in SUBJECTS.items():
            for name in names:
                for paragraph in re.split(r"\n\s*\n", topics.get(name, "")):
                    text = " ".join(paragraph.split())
                    if ">>>" not in text and len(tokens_of(text, "words")) >= SHORTEST:
                        found.setdefault(text, subject)
        return Labelled(tuple(found), tuple(found.values()), ("",) * len(found))
