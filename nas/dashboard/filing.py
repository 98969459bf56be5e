"""Filing: the files that a trial left, and how each may be shown without a browser mistaking it for a page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

from starlette.responses import Response

from nas.dashboard.refusal import Refusal
from nas.log import NAME
from workers.artifacts import Artifacts, Stored
from workers.child import EXHIBIT
from workers.trial import Json

PNG = b"\x89PNG\r\n\x1a\n"
LARGEST = 8 << 20  # bytes of a file that is handed out
READ = 64 * 1024  # letters of a text that stand on the page itself
TEXTS = ("txt", "log", "json", "yaml", "csv")
SHOWN = 24  # exhibits on a page, and other texts
LOCKED = "sandbox; default-src 'none'; frame-ancestors 'none'"  # of a file: it may do nothing at all


@final
@dataclass(frozen=True)
class Paper:
    """A file as the page of a trial shows it: `text` where it is one, `attention` where it is such a map."""

    stored: Stored
    title: str
    kind: str
    text: str = ""
    attention: Mapping[str, Json] | None = None


def papers(artifacts: Artifacts, search: str, trial: int) -> Sequence[Paper]:
    """What a trial left; the last texts among it are read, pictures and all else are only named."""
    found = [one for one in artifacts.list(search, trial) if NAME.fullmatch(one.name)]
    exhibits = [one for one in found if one.name.startswith(EXHIBIT)]
    others = [one for one in found if not one.name.startswith(EXHIBIT)]
    older, newer = [*others[:-SHOWN], *exhibits[:-SHOWN]], [*others[-SHOWN:], *exhibits[-SHOWN:]]
    return [*map(_named, older), *(_paper(artifacts, search, one) for one in newer)]


def file(artifacts: Artifacts, search: str, trial: int, attempt: int, name: str) -> Response:
    """A file: a picture as such where it is one, a text as plain text, all else to be saved."""
    if not NAME.fullmatch(name):
        raise Refusal(404, "There is no such file", "Names of files are of letters, digits, '-', '_' and '.'.")
    stored = [one for one in artifacts.list(search, trial) if (one.attempt, one.name) == (attempt, name)]
    if not stored:
        raise Refusal(404, "There is no such file", f"Trial {trial} of {search} left no {name} in attempt {attempt}.")
    if stored[0].bytes > LARGEST:
        place = f"{artifacts.place}/{search}/{trial}/{attempt}/{name}"
        raise Refusal(413, "That file is too large", f"It is too large for a browser; it is at {place}.")
    content = artifacts.get(search, trial, attempt, name)
    if content.startswith(PNG):
        return Response(content, media_type="image/png", headers={"content-security-policy": LOCKED})
    if name.rpartition(".")[2] in TEXTS:
        return Response(content, media_type="text/plain", headers={"content-security-policy": LOCKED})
    saved = {"content-security-policy": LOCKED, "content-disposition": f'attachment; filename="{name}"'}
    return Response(content, media_type="application/octet-stream", headers=saved)


def _named(stored: Stored) -> Paper:
    return Paper(stored, stored.name, "file")


def _paper(artifacts: Artifacts, search: str, stored: Stored) -> Paper:
    name, suffix = stored.name, stored.name.rpartition(".")[2]
    if not name.startswith(EXHIBIT):
        text = _text(artifacts, search, stored) if suffix in ("txt", "log") else ""
        return Paper(stored, name, "text", text) if text else _named(stored)
    epoch, _, rest = name.removeprefix(EXHIBIT).partition("-")
    after = f"{rest.rpartition('.')[0].replace('_', ' ')}, after epoch {epoch.lstrip('0') or '0'}"
    if suffix == "png":
        return Paper(stored, after, "picture")
    text = _text(artifacts, search, stored)
    if suffix == "json":
        try:
            record = json.loads(text)
            if record["kind"] == "attention":
                return Paper(stored, after, "attention", attention=_attention(record))
        except (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError):
            pass  # another's JSON, or a map that is none: shown as it stands
    return Paper(stored, after, "text", text)


def _attention(record: Mapping[str, Json]) -> Mapping[str, Json]:
    """A map with its weights in tenths, for which the style sheet has colours."""
    weights = [[round(10 * min(1.0, max(0.0, float(one)))) for one in row] for row in record.get("weights", ())]
    rows = [str(one) for one in record.get("rows", ())]
    return {"columns": [str(one) for one in record.get("columns", ())], "rows": list(zip(rows, weights, strict=False))}


def _text(artifacts: Artifacts, search: str, stored: Stored) -> str:
    if stored.bytes > LARGEST:
        return f"{stored.bytes} bytes are too many to be shown here"
    text = artifacts.get(search, stored.trial, stored.attempt, stored.name).decode("utf-8", "replace")
    return text if len(text) <= READ else f"... {len(text) - READ} letters before this\n{text[-READ:]}"
