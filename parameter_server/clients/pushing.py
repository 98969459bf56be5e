"""Pushing: one push, brought to every shard that it concerns, once; sent again where that can help."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from time import monotonic, sleep
from typing import TYPE_CHECKING, final

from parameter_server.clients.crew import Crew, tried
from parameter_server.clients.parts import Cut, cut_push
from parameter_server.clients.table import Table
from parameter_server.link import Answer, Link, Push
from parameter_server.outcome import Outcome
from parameter_server.policy import Async
from parameter_server.store import FencedError, PushId, StoreError, UnreachableError

if TYPE_CHECKING:
    from parameter_server.store import Gradients, Version

_FIRST_NAP = 0.005  # seconds before the same push is sent again
_LONGEST_NAP = 0.5
_ANSWERS = (Outcome.APPLIED, Outcome.DUPLICATE, Outcome.LATE, Outcome.STALE)


@final
@dataclass(frozen=True, slots=True)
class Errand:
    """A push as its client gave it; by `deadline` (of `monotonic`) all shards must have taken it."""

    gradients: Gradients
    base: Version
    id: PushId
    deadline: float


@final
class Pushing:
    """Takes a push to its shards; `fetch` asks for the table again when pieces were added meanwhile."""

    def __init__(self, links: Sequence[Link], crew: Crew, fetch: Callable[[], Table], errand: Errand) -> None:
        self._links = links
        self._crew = crew
        self._fetch = fetch
        self._errand = errand

    def run(self, table: Table) -> dict[int, Answer]:
        """What each shard answered; raises `StoreError` where one refused, when all have answered."""
        answers: dict[int, Answer] = {}
        sent: dict[int, list[str]] = {}
        nap = 0.0
        while True:
            cut = cut_push(table, self._errand.gradients)
            shards = concerned(table, cut)
            due = [
                shard for shard in shards
                if shard not in answers or sent[shard] != [part.key for part in cut.parts.get(shard, ())]
            ]  # fmt: skip
            taken = self._crew.attempt(due, partial(self._deliver, table, cut), partial(self._begin, table, cut))
            others = {shard: answer for shard, answer in taken.items() if answer.outcome not in _ANSWERS}
            answers.update((shard, answer) for shard, answer in taken.items() if shard not in others)
            if not others:
                return answers
            _raise_refusal(others, answers)
            sent = {shard: [part.key for part in cut.parts.get(shard, ())] for shard in answers}
            if monotonic() + nap > self._errand.deadline:
                raise UnreachableError(f"the table of pieces kept changing while push {self._errand.id.number} of "
                                       f"{self._errand.id.client} was sent: send it again", Outcome.MOVED)  # fmt: skip
            sleep(nap)
            nap = min(2 * nap + _FIRST_NAP, _LONGEST_NAP)
            table = self._fetch()

    def _deliver(self, table: Table, cut: Cut, shards: Sequence[int]) -> list[Answer]:
        """Send shards of one process their parts, until they took or refused them, or have other pieces by now."""
        links, pushes = self._links, self._pushes(table, cut, shards)
        if len(pushes) == 1 or links[shards[0]].process is None:
            return tried(lambda shard: self._settled(shard, pushes[shard], links[shard].push(pushes[shard])), shards)
        return self._all_settled(pushes, links[shards[0]].push_together([(links[one], pushes[one]) for one in shards]))

    def _begin(self, table: Table, cut: Cut, shards: Sequence[int]) -> Callable[[], list[Answer]] | None:
        """Send shards of one process their parts; gives what goes on from there as `_deliver` does."""
        links, pushes = self._links, self._pushes(table, cut, shards)
        answers = links[shards[0]].begin_together([(links[shard], push) for shard, push in pushes.items()])
        return None if answers is None else lambda: self._all_settled(pushes, answers())

    def _pushes(self, table: Table, cut: Cut, shards: Sequence[int]) -> dict[int, Push]:
        errand = self._errand
        return {
            shard: Push(errand.id, errand.base[shard], table.versions[shard], cut.parts.get(shard, ()), cut.scale)
            for shard in shards
        }

    def _all_settled(self, pushes: Mapping[int, Push], answers: Sequence[Answer]) -> list[Answer]:
        """The last answers of shards of one process, which answered so at first."""
        first = dict(zip(pushes, answers, strict=True))
        return tried(lambda shard: self._settled(shard, pushes[shard], first[shard]), pushes, together=True)

    def _settled(self, shard: int, push: Push, answer: Answer) -> Answer:
        """The last answer of a shard, to which a push is sent again while that can help."""
        errand, link, nap = self._errand, self._links[shard], _FIRST_NAP
        while True:
            outcome = answer.outcome
            if outcome is Outcome.FENCED:
                raise FencedError(answer.reason, outcome)
            if outcome in _ANSWERS or outcome is Outcome.MOVED or not outcome.again:
                return answer
            if monotonic() + nap > errand.deadline:
                raise UnreachableError(
                    f"shard {shard} has not taken push {errand.id.number} of {errand.id.client} in the time that was "
                    f"allowed ({outcome}: {answer.reason}): send the same push again",
                    outcome,
                )
            if outcome is Outcome.UNKNOWN_CLIENT:
                link.hello(errand.id.client, errand.id.attempt)
            if outcome is not Outcome.WAITING:  # that one has waited on the shard
                sleep(nap)
                nap = min(2 * nap, _LONGEST_NAP)
            answer = link.push(push)


def concerned(table: Table, cut: Cut) -> Iterable[int]:
    """The shards that a push goes to: where clients wait for each other all of them, for each counts its pushes."""
    return sorted(cut.parts) if isinstance(table.policy.mode, Async) else range(len(table.versions))


def _raise_refusal(refusals: dict[int, Answer], answers: dict[int, Answer]) -> None:
    """Raise what a shard refused for good."""
    for answer in refusals.values():
        if answer.outcome is not Outcome.MOVED:
            counted = [str(one) for one, other in answers.items() if other.outcome.counted]
            also = f" (shards that have counted it: {', '.join(counted)})" if counted else ""
            raise StoreError(answer.reason + also, answer.outcome)
