"""Lesson: a trial of an earlier search, as a later one is told of it; in the later one's own journal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import final

from search_spaces.decisions import Candidate
from workers.objectives import Outcome
from workers.trial import Json, Result, Trial

AT_ONCE = 1_000  # lessons in one entry of a journal


@final
@dataclass(frozen=True, slots=True)
class Lesson:
    """A candidate that was trained to the end of its schedule elsewhere, and how that ended."""

    candidate: Candidate
    outcome: Outcome
    metrics: Mapping[str, float] = field(default_factory=dict)

    def json(self) -> dict[str, Json]:
        record: dict[str, Json] = {"candidate": self.candidate.json(), "outcome": str(self.outcome)}
        return {**record, "metrics": dict(self.metrics)} if self.metrics else record


def write(search: str, lessons: Sequence[Lesson], text: str, first: int = 0) -> Iterator[dict[str, Json]]:
    """The bodies of the requests that teach `lessons` of `search`; `first` of other searches were taught before.

    `text` says to people what is taken; the first body holds it.
    """
    for start in range(0, len(lessons), AT_ONCE):
        part = [lesson.json() for lesson in lessons[start : start + AT_ONCE]]
        body: dict[str, Json] = {"search": search, "first": first + start, "trials": part}
        yield {**body, "text": text} if start == 0 else body


def read(body: Mapping[str, Json], epochs: int) -> Iterator[tuple[Trial, Result]]:
    """The trials of a request and their results; lesson n is trial -n, so that no number is taken from the search."""
    note = {"arm": "earlier", "search": body["search"]}
    for number, record in enumerate(body["trials"], body["first"] + 1):
        outcome, metrics = Outcome(record["outcome"]), record.get("metrics", {})
        yield (
            Trial(-number, Candidate(record["candidate"]), epochs, epochs, note=note),
            Result(-number, 1, outcome, metrics, epochs),
        )
