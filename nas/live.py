"""A running search on stderr: a live view in a terminal, a line per event where there is none."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Protocol, TextIO, final

from nas.history import History, TrialRecord
from nas.printable import printable
from nas.quantities import duration, metric
from nas.tally import RUNG, Tally
from workers.objectives import Objective

if TYPE_CHECKING:
    from rich.console import RenderableType

SHOWN = 8  # running trials in the live view
AT_ONCE = 5  # events that are told one by one; more in one interval are told as a number
COST = 0.02  # the share of the driver's time that showing progress may take
BEFORE_STOP = "Ctrl-C finishes what runs, twice stops now"
AFTER_STOP = "finishing what runs, then it stops; Ctrl-C twice stops now"


class Machines(Protocol):
    """What a view wants to know of a pool."""

    @property
    def free(self) -> int:
        """How many attempts can be submitted now."""

    @property
    def busy(self) -> int:
        """How many attempts are running."""


@final
@dataclass(frozen=True)
class Goal:
    """What a search is for and when it ends: its objectives, and the most trials and seconds it may take.

    `hint` says what Ctrl-C does, where that is not to stop it.
    """

    name: str
    objectives: tuple[Objective, ...] = ()
    trials: int | None = None
    seconds: float | None = None
    hint: str = ""


@final
class View(AbstractContextManager["View"]):
    """Shows the history of a search after each turn of its loop, at most every `interval` seconds.

    It widens the interval until showing costs less than 2 % of the time.
    """

    def __init__(self, screen: Screen, goal: Goal, interval: float = 0.25, clock: Callable[[], float] = time.monotonic):
        self.screen, self.goal, self.interval, self.clock = screen, goal, interval, clock
        self.tally = Tally(goal.objectives)
        self.began = clock()
        self.due = self.began
        self.ended_before: int | None = None
        self._noted: int | None = None
        self._last: tuple[History, Machines] | None = None

    def turn(self, history: History, pool: Machines) -> None:
        """Called by the driver after each turn; returns at once unless it is time to show again."""
        self._last = history, pool
        now = self.clock()
        if now >= self.due:
            self._show(now)

    def __exit__(self, *_: object) -> None:
        if self._last is not None:
            self._show(self.clock(), over=True)
        self.screen.close()

    def _show(self, now: float, over: bool = False) -> None:
        assert self._last is not None
        history, pool = self._last
        ended = self.tally.update(history)
        if self.ended_before is None:
            self.ended_before = self.tally.ended
            ended = []
        remaining = None if over or history.stopping else self._remaining(now)
        notes = [str(note.body.get("text", "")) for note in islice(history.notes, self._noted, None)]
        news = [] if self._noted is None else notes[-AT_ONCE:]
        self._noted = len(history.notes)
        moment = Moment(self.goal, self.tally, history, pool, now - self.began, remaining, over, news)
        self.screen.show(moment, ended)
        took = self.clock() - now
        self.due = now + took + max(self.interval, took / COST)

    def _remaining(self, now: float) -> float | None:
        """Seconds until the budget is spent at the pace so far; None while there is no pace yet, or nothing left."""
        guesses: list[float] = []
        if self.goal.trials is not None and self.tally.ended >= self.goal.trials:
            return None
        done = self.tally.ended - (self.ended_before or 0)
        if self.goal.trials is not None and done > 0:
            guesses.append((now - self.began) / done * (self.goal.trials - self.tally.ended))
        if self.goal.seconds is not None:
            guesses.append(max(0.0, self.goal.seconds - (now - self.began)))
        return min(guesses, default=None)


@final
@dataclass(frozen=True)
class Moment:
    """All that a screen shows at one time, times in seconds; when it is `over`, nothing runs any more.

    `notes` came since the last one; of many only the latest.
    """

    goal: Goal
    tally: Tally
    history: History
    pool: Machines
    elapsed: float
    remaining: float | None
    over: bool = False
    notes: Sequence[str] = ()

    @property
    def state(self) -> str:
        """How the search stands; `stopping` from when somebody asked for that."""
        return "stopping" if self.history.stopping else self.history.state

    @property
    def trials(self) -> str:
        """`12 of 60 trials: 10 completed, 2 failed; 3 trained again`."""
        tally = self.tally
        total = f" of {self.goal.trials}" if self.goal.trials is not None else ""
        outcomes = ", ".join(f"{number} {name}" for name, number in sorted(tally.outcomes.items()))
        again = f"; {tally.apart} trained again or tested" if tally.apart else ""
        again += f"; {tally.rescored} scored again" if tally.rescored else ""
        again += f"; {tally.proxies} looked at untrained" if tally.proxies else ""
        return f"{tally.ended}{total} trials" + (f": {outcomes}" if outcomes else "") + again

    @property
    def best(self) -> str:
        """The best of each arm by the first objective, the strategy's first; empty while there is none.

        While nothing is fully trained, the best of what led there.
        """
        best = dict(self.tally.best)
        rung = best.pop(RUNG, None)
        if rung is not None and not best:
            return f"{self._named('best', rung)}, not fully trained"
        order = sorted(best, key=lambda arm: arm != "strategy")
        only = "" if {"baseline", "enqueued"} & set(best) else "strategy"
        return ", ".join(self._named("best" if arm == only else arm, best[arm]) for arm in order)

    def _named(self, what: str, record: TrialRecord) -> str:
        name = self.goal.objectives[0].metric
        value = record.result.metrics.get(name) if record.result else None
        return f"{what} {name} {metric(value)} (trial {record.trial.id})"

    @property
    def times(self) -> str:
        """How long it has run, and how long it may still take."""
        left = f", about {duration(self.remaining)} left" if self.remaining is not None else ""
        return f"{duration(self.elapsed)}{left}"

    @property
    def slots(self) -> str:
        """How many slots there are, and how many work."""
        return f"{self.pool.busy} of {self.pool.busy + self.pool.free} slots busy"


class Screen(Protocol):
    """Where moments are shown."""

    def show(self, moment: Moment, ended: Sequence[TrialRecord]) -> None:
        """Show how things stand, and which trials ended since the last call."""

    def close(self) -> None:
        """Leave the terminal as it was."""


@final
class Lines:
    """A line per ended trial: for logs, and for terminals that cannot redraw."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.state = ""

    def show(self, moment: Moment, ended: Sequence[TrialRecord]) -> None:
        if moment.state != self.state:
            self.state = moment.state
            reason = f": {moment.history.reason}" if moment.history.reason else ""
            self._write(f"{moment.goal.name} {self.state}{reason}")
        for note in moment.notes:
            self._write(note)
        if len(ended) > AT_ONCE:
            self._write(f"{len(ended)} more trials ended")
        else:
            for record in ended:
                self._write(f"trial {record.trial.id} {_ending(record)}")
        if ended:
            self._write(f"{moment.trials}; {moment.best or 'none completed yet'}; {moment.times}")

    def close(self) -> None:
        self.stream.flush()

    def _write(self, text: str) -> None:
        self.stream.write(f"{printable(text)}\n")
        self.stream.flush()


@final
class Terminal:
    """A live view that redraws itself, with the running trials below the counts."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.live import Live

        console = Console(file=stream, highlight=False, markup=False, emoji=False)
        self.live = Live(console=console, auto_refresh=False, redirect_stdout=False, transient=False)
        self.live.start()

    def show(self, moment: Moment, ended: Sequence[TrialRecord]) -> None:
        for note in moment.notes:
            self.live.console.print(printable(note), style="yellow")  # above what is drawn anew
        self.live.update(self._draw(moment), refresh=True)

    def close(self) -> None:
        self.live.stop()

    def _draw(self, moment: Moment) -> RenderableType:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        running = [] if moment.over else moment.tally.running
        doing = moment.times if moment.over else f"{moment.state}  {moment.times}  {moment.slots}"
        lines: list[RenderableType] = [
            Text.assemble((moment.goal.name, "bold"), f"  {doing}"),
            Text(moment.trials),
            Text(printable(moment.best) or "none completed yet", style="green" if moment.best else "dim"),
        ]
        grid = Table(box=None, pad_edge=False, header_style="dim")
        for title in ("running", "arm", "epoch", "metrics"):
            grid.add_column(title)
        for record in running[:SHOWN]:
            epoch, metrics = record.curve[-1] if record.curve else (0, {})
            cells = (str(record.trial.id), record.arm, f"{epoch}/{record.trial.epochs}", _metrics(metrics))
            grid.add_row(*map(printable, cells))
        if running:
            lines.append(grid)
        if len(running) > SHOWN:
            lines.append(Text(f"and {len(running) - SHOWN} more", style="dim"))
        if not moment.over:
            hint = moment.goal.hint or (AFTER_STOP if moment.history.stopping else BEFORE_STOP)
            lines.append(Text(hint, style="dim"))
        return Group(*lines)


@final
class Nothing:
    """Shows nothing."""

    def show(self, moment: Moment, ended: Sequence[TrialRecord]) -> None:
        """Nothing to show."""

    def close(self) -> None:
        """Nothing to leave."""


def view(goal: Goal, quiet: bool = False, stream: TextIO | None = None) -> View:
    """The view that suits `stream` (stderr): a live one in a terminal, lines elsewhere, none if `quiet`."""
    stream = stream or sys.stderr
    screen: Screen
    if quiet:
        screen = Nothing()
    else:
        screen = Terminal(stream) if stream.isatty() else Lines(stream)
    return View(screen, goal)


def _ending(record: TrialRecord) -> str:
    result = record.result
    assert result is not None
    error = f": {result.error}" if result.error else ""
    arm = f" ({record.arm})" if record.arm != "strategy" else ""
    return f"{result.outcome}{arm}{error}, {_metrics(result.metrics)}, {duration(result.seconds)}".replace(", ,", ",")


def _metrics(metrics: Mapping[str, float]) -> str:
    return " ".join(f"{name}={metric(value)}" for name, value in metrics.items())
