"""What a text is cut into: words as Kim (2014) cuts them, what stands between blanks, or characters; and sentences."""

from __future__ import annotations

import re

KINDS = ("words", "blanks", "characters")
_WORD = re.compile(r"[^\W_]+(?=n't\b)|n't\b|'(?:s|m|d|re|ve|ll)\b|[^\W_]+|[(),!?]")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n\s*\n")


def tokens_of(text: str, kind: str) -> list[str]:
    """The tokens of `text`: lower-cased `words`, what stands between `blanks` as it is, or all its `characters`.

    A word is a run of letters and digits; `n't`, `'s`, `'ve` and their like stand alone, and so do ( ) , ! and ?. All
    else only separates. Words that were already cut so, with blanks between them, stay as they are.
    """
    if kind == "words":
        return _WORD.findall(text.lower())
    return text.split() if kind == "blanks" else list(text)


def in_python(kind: str, sentences: bool) -> dict[str, str]:
    """What `tokens_of` and, with `sentences`, `sentences_of` do, as Python for whoever uses an exported network."""
    cut = {
        "words": f're.findall(r"{_WORD.pattern}", text.lower())',
        "blanks": "text.split()",
        "characters": "list(text)",
    }
    ends = {"sentences": f're.split(r"{_SENTENCE_END.pattern}", text)'} if sentences else {}
    return {**ends, "tokens": cut[kind]}


def sentences_of(text: str) -> list[str]:
    """The parts of `text` between blanks behind a full stop, a question or exclamation mark, and between paragraphs."""
    return [part for part in _SENTENCE_END.split(text) if part.strip()]
