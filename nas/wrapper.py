"""Wrapper, Rejecting: strategies around a strategy, each adding one rule."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

from nas.lessons import read
from nas.strategy import Draw, Strategy
from workers.trial import Json, Result, Trial

ASIDE = "set aside"  # the error of a result that a strategy could not digest, and hears as a failure instead
ATTEMPTS = 1_000  # proposals in a row; a space of 36 with one candidate left is missed by fewer than 1 in 10**12


class Wrapper(Strategy):
    """Passes everything on to `inner`; a subclass changes what its rule is about.

    Trials of another arm (`note["arm"]`) reach the innermost strategy only where that is `foreign`.
    """

    objectives_at_most = None
    foreign = True

    def __init__(self, inner: Strategy) -> None:
        super().__init__(inner.setting)
        self.inner = inner
        self._unheard: set[int] = set()

    @property
    def exhausted(self) -> bool:
        return self.inner.exhausted

    @property
    def reason(self) -> str:
        """Why the search is at its end, in words; empty while it is not."""
        if isinstance(self.inner, Wrapper):
            return self.inner.reason
        return f"{type(self.inner).__name__} has nothing more to try" if self.inner.exhausted else ""

    def propose(self, draw: Draw) -> Trial | None:
        return self.inner.propose(draw)

    def asked(self, trial: Trial) -> None:
        if "arm" in trial.note and not self.inner.foreign:
            self._unheard.add(trial.id)
        else:
            self.inner.hear(trial)

    def told(self, result: Result) -> None:
        if result.trial_id not in self._unheard:
            self.inner.tell(result)

    def expect(self, count: int) -> None:
        self.inner.expect(count)

    def gauges(self) -> Mapping[str, float]:
        return self.inner.gauges()

    def snapshot(self) -> bytes | None:
        return self.inner.snapshot()

    def recall(self, content: bytes) -> bool:
        return self.inner.recall(content)

    def close(self) -> None:
        self.inner.close()

    def extend(self, body: Mapping[str, Json]) -> None:
        """Take over the changed parts of a job (`budget`, `final`) that a user asked for while the search exists."""
        if isinstance(self.inner, Wrapper):
            self.inner.extend(body)

    def enqueue(self, candidate: Mapping[str, Json]) -> None:
        """Try this candidate next; raises `UserError` or `DecisionError` where that cannot be."""
        if isinstance(self.inner, Wrapper):
            self.inner.enqueue(candidate)

    def learn(self, body: Mapping[str, Json]) -> str:
        """Let the strategy hear of an earlier search, whose trials have numbers below 0; what to tell people of it.

        The rules hear nothing: they count what is trained, and this search trains none of these.
        """
        if isinstance(self.inner, Wrapper):
            return self.inner.learn(body)
        text = str(body.get("text", ""))
        if not self.inner.foreign:
            return text and f"{text}; but {type(self.inner).__name__} learns from no trials but its own"
        for trial, result in read(body, self.setting.epochs):
            self.inner.hear(trial)
            self.inner.tell(result)
        return text


class Rejecting(Wrapper):
    """Asks `inner` again, with the next draw, for as long as its proposal is not acceptable.

    When `attempts` in a row are refused while nothing runs, nothing that could be told would change that: the
    search is exhausted.
    """

    def __init__(self, inner: Strategy, attempts: int = ATTEMPTS) -> None:
        super().__init__(inner)
        self.attempts = attempts
        self._running: set[int] = set()
        self._events = 0
        self._barren = -1  # after how many events every proposal was refused

    @abstractmethod
    def accepts(self, trial: Trial) -> bool:
        """Whether `trial` may run; remembers nothing that a later answer depends on."""

    @property
    def barren(self) -> bool:
        """Whether every proposal was refused, and nothing runs whose result could change that."""
        return not self._running and self._barren == self._events

    @property
    def exhausted(self) -> bool:
        return self.barren or self.inner.exhausted

    def propose(self, draw: Draw) -> Trial | None:
        for _ in range(self.attempts):
            trial = self.inner.propose(draw)
            if trial is None or self.accepts(trial):
                return trial
            draw = draw.again()
        self._barren = self._events
        return None

    def asked(self, trial: Trial) -> None:
        self._events += 1
        self._running.add(trial.id)
        super().asked(trial)

    def told(self, result: Result) -> None:
        self._events += 1
        self._running.discard(result.trial_id)
        super().told(result)
