"""What the networks make: the pictures, texts and attention maps that trainings left, by epoch."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from html import escape

from nas.reports.page import Exhibit, Subject, section
from workers.artifacts import Artifacts, Stored
from workers.child import EXHIBIT
from workers.trial import Json

SHOWN = 6  # epochs of one exhibit


def collected(artifacts: Artifacts, search: str, attempts: Mapping[int, int]) -> tuple[Exhibit, ...]:
    """The exhibits of the given attempts of trials, a few epochs of each name; a later trial's come first."""
    by_name: dict[str, dict[int, Stored]] = {}
    for stored in artifacts.list(search):  # in order of the trials
        if stored.name.startswith(EXHIBIT) and attempts.get(stored.trial) == stored.attempt:
            number, _, name = stored.name.removeprefix(EXHIBIT).partition("-")
            by_name.setdefault(name, {})[int(number)] = stored
    found = []
    for name, epochs in sorted(by_name.items()):
        for epoch in spread(sorted(epochs)):
            one = epochs[epoch]
            content = artifacts.get(search, one.trial, one.attempt, one.name)
            found.append(Exhibit(name, epoch, one.trial, content))
    return tuple(found)


def spread(epochs: Sequence[int], most: int = SHOWN) -> list[int]:
    """At most so many of the epochs, evenly, the first and the last among them."""
    if len(epochs) <= most:
        return list(epochs)
    return [epochs[round(place * (len(epochs) - 1) / (most - 1))] for place in range(most)]


def exhibits(subject: Subject) -> str:
    """The section; nothing where no training left anything."""
    if not subject.exhibits:
        return ""
    parts = []
    for name in dict.fromkeys(one.name for one in subject.exhibits):
        shown = [one for one in subject.exhibits if one.name == name]
        title = escape(name.rpartition(".")[0].replace("_", " ").capitalize())
        parts.append(f"<h3>{title}</h3>" + _row(shown))
    trials = ", ".join(str(trial) for trial in dict.fromkeys(one.trial for one in subject.exhibits))
    return section("What it makes", "".join(parts), f"By the network of trial {trials}, after so many epochs.")


def _row(shown: Sequence[Exhibit]) -> str:
    pictures = [one for one in shown if one.name.endswith(".png")]
    if pictures:
        return f'<div class="exhibits">{"".join(_picture(one) for one in pictures)}</div>'
    last = _text(shown[-1])
    earlier = "".join(_text(one) for one in shown[:-1])
    return last + (f"<details><summary>Earlier epochs</summary>{earlier}</details>" if earlier else "")


def _picture(one: Exhibit) -> str:
    data = base64.b64encode(one.content).decode("ascii")
    caption = _caption(one)
    return (
        f'<figure><img alt="{escape(one.name)}, {caption}" src="data:image/png;base64,{data}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _text(one: Exhibit) -> str:
    if one.name.endswith(".json"):
        record = json.loads(one.content)
        body = _attention(record) if record.get("kind") == "attention" else _plain(json.dumps(record, indent=1))
    else:
        body = _plain(one.content.decode("utf-8", "replace"))
    return f"<figure>{body}<figcaption>{_caption(one)}</figcaption></figure>"


def _plain(text: str) -> str:
    return f"<pre>{escape(text)}</pre>"


def _caption(one: Exhibit) -> str:
    return f"after {one.epoch} epoch{'' if one.epoch == 1 else 's'}"


def _attention(record: Mapping[str, Json]) -> str:
    """A table whose cells are the darker the more is looked at."""
    head = "".join(f"<th>{escape(_visible(column))}</th>" for column in record["columns"])
    rows = "".join(
        f"<tr><th>{escape(_visible(row))}</th>{''.join(_cell(weight) for weight in weights)}</tr>"
        for row, weights in zip(record["rows"], record["weights"], strict=True)
    )
    return f'<div class="wide"><table class="attention"><tr><th></th>{head}</tr>{rows}</table></div>'


def _cell(weight: float) -> str:
    share = round(100 * min(1.0, max(0.0, float(weight))))
    return f'<td style="--looked-at: {share}%" title="{weight:.2f}"></td>'


def _visible(token: str) -> str:
    return {" ": "␣", "\n": "↵"}.get(token, token)
