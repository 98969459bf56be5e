"""Ignored: which files stay at home, by the patterns of `.gitignore`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import final

FILES = (".gitignore", ".rayignore")  # Ray's own list is read as well
USUAL = """\
.git/
.hg/
.svn/
.venv/
venv/
node_modules/
__pycache__/
*.py[cod]
*.egg-info/
.*_cache/
.ipynb_checkpoints/
.hypothesis/
.DS_Store
.env
.env.*
.netrc
.pgpass
.aws/
.docker/
.gnupg/
.kube/
.ray/
.ssh/
""".splitlines()


@final
@dataclass(frozen=True)
class Pattern:
    """One line: what it matches below the folder of its list, whether it takes back, whether it is for folders only."""

    regex: re.Pattern[str]
    again: bool
    folders: bool


@final
@dataclass(frozen=True)
class Ignored:
    """The patterns of a folder and of those above it; the last that matches a path decides about it."""

    patterns: tuple[tuple[str, Pattern], ...] = ()  # each below a folder, "" or "a/b/"

    def below(self, folder: str, lines: Iterable[str]) -> Ignored:
        """With the patterns of a list in `folder` ("" or "a/b/")."""
        found = [(folder, one) for line in lines if (one := pattern(line)) is not None]
        return Ignored((*self.patterns, *found))

    def __call__(self, path: str, folder: bool) -> bool:
        """Whether `path`, a `folder` or a file, stays at home; what is in an ignored folder is not asked for."""
        for below, one in reversed(self.patterns):
            if path.startswith(below) and (folder or not one.folders) and one.regex.fullmatch(path[len(below) :]):
                return not one.again
        return False


@cache
def pattern(line: str) -> Pattern | None:
    """What a line of such a list says; None for a comment, nothing, or what can match nothing."""
    line = line.rstrip("\r\n")
    while line.endswith(" ") and not line.endswith("\\ "):
        line = line[:-1]
    if not line or line.startswith("#"):
        return None
    again = line.startswith("!")
    text = line[again:]
    folders = text.endswith("/")
    text = text.removesuffix("/")
    if not text:
        return None
    anchored = "/" in text
    regex = _regex(text.removeprefix("/"))
    if regex is None:
        return None
    return Pattern(re.compile(regex if anchored else f"(?:.*/)?{regex}", re.DOTALL), again, folders)


def _regex(text: str) -> str | None:
    """A glob as a regular expression; None where a class is not closed, or nothing is escaped."""
    found, at = "", 0
    while at < len(text):
        one = text[at]
        if text.startswith("**/", at) and (at == 0 or text[at - 1] == "/"):
            found, at = found + "(?:.*/)?", at + 3
        elif text[at:] == "**" and (at == 0 or text[at - 1] == "/"):
            found, at = found + ".*" if at == 0 else found + ".+", at + 2
        elif one == "*":
            while text.startswith("*", at):
                at += 1
            found += "[^/]*"
        elif one == "?":
            found, at = found + "[^/]", at + 1
        elif one == "[":
            taken = _class(text, at)
            if taken is None:
                return None
            found, at = found + taken[0], taken[1]
        elif one == "\\":
            if at + 1 == len(text):
                return None
            found, at = found + re.escape(text[at + 1]), at + 2
        else:
            found, at = found + re.escape(one), at + 1
    return found


def _class(text: str, at: int) -> tuple[str, int] | None:
    """A class such as `[!a-c]` as a regular expression, and where the text goes on; None where it is not closed."""
    at += 1
    negated = text[at : at + 1] in ("!", "^")
    at += negated
    inside, first = "", True
    while first or text[at : at + 1] != "]":
        if text.startswith("\\", at):
            at += 1
        if at >= len(text):
            return None
        low = text[at]
        at += 1
        if text[at : at + 1] == "-" and text[at + 1 : at + 2] not in ("", "]"):
            at += 2 if text[at + 1] == "\\" else 1
            if at >= len(text):
                return None
            high = text[at]
            at += 1
            if low <= high:
                inside += f"{re.escape(low)}-{re.escape(high)}"
        else:
            inside += re.escape(low)
        first = False
    sign = "^" if negated else ""
    body = f"[{sign}{inside}]" if inside else ("(?:.)" if negated else "(?!)")
    return f"(?!/){body}", at + 1
