"""The page of a report: its sections in order, as one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import final

from nas.history import History
from nas.log import Header
from nas.reports import facts
from nas.reports.style import SCRIPT, STYLE
from search_spaces.space import Description
from workers.objectives import Objective


@final
@dataclass(frozen=True)
class Exhibit:
    """One file that a training left: its name (`samples.png`), after which epoch, of which trial."""

    name: str
    epoch: int
    trial: int
    content: bytes


@final
@dataclass(frozen=True)
class Subject:
    """What is reported on: `described` has graphs of some trials' networks by trial id, or `trouble` says why not.

    `exhibits` are what the winner's training left, else the best trial's; `measured` is how to read the metrics.
    """

    header: Header
    history: History
    objectives: tuple[Objective, ...]
    described: Mapping[int, Description] = field(default_factory=dict)
    trouble: str = ""
    exhibits: tuple[Exhibit, ...] = ()
    measured: str = ""

    @property
    def main(self) -> Objective | None:
        """The first objective."""
        return self.objectives[0] if self.objectives else None


def page(subject: Subject, sections: Sequence[str], made: str) -> str:
    """The file; nothing in it is loaded from anywhere."""
    name = escape(subject.header.search)
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            '<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{name}: search report</title>",
            f"<style>{STYLE}</style></head>",
            "<body><main>",
            *sections,
            f"<footer>{escape(made)}</footer>",
            f"</main><script>{SCRIPT}</script></body></html>\n",
        ]
    )


def section(title: str, body: str, said: str = "", kind: str = "") -> str:
    """A titled part of the page with an introducing sentence (HTML)."""
    name = f' class="{kind}"' if kind else ""
    intro = f"<p>{said}</p>" if said else ""
    return f"<section{name}><h2>{escape(title)}</h2>{intro}{body}</section>"


def figure(svg: str, caption: str) -> str:
    """A chart with its caption (HTML)."""
    return f"<figure>{svg}<figcaption>{caption}</figcaption></figure>"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """A table of escaped texts; the columns in `numbers` are set to the right."""

    def line(cells: Sequence[str], tag: str) -> str:
        marks = [' class="number"' if i in numbers else "" for i in range(len(cells))]
        return "".join(f"<{tag}{mark}>{escape(cell)}</{tag}>" for cell, mark in zip(cells, marks, strict=True))

    lines = "".join(f"<tr>{line(row, 'td')}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{line(head, "th")}</tr></thead><tbody>{lines}</tbody></table></div>'


def listed(items: Mapping[str, str]) -> str:
    """Names and what they are."""
    return (
        "<dl>" + "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in items.items()) + "</dl>"
    )


def arm_name(arm: str) -> str:
    """What a report calls the trials of an arm."""
    names = {
        "strategy": "search",
        "baseline": "random baseline",
        "final": "retraining",
        "test": "test",
        "proxy": "untrained",
        "rescore": "scored again",
    }
    return names.get(arm, arm)


def style_of(arm: str) -> str:
    """The colour of an arm's marks."""
    return "own" if arm in facts.OWN else "rival"
