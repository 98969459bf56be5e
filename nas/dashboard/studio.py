"""Studio: networks drawn, and candidates checked, with the space and the task that the search's job names.

The modules of a job are imported into this process, as `nas show` and `nas report` do; so whose journals are shown is
somebody whose code may run here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, TypeVar, final

from nas.log import Log
from search_spaces.decision import Choice, Decision
from search_spaces.decisions import Candidate
from workers.trial import Json

if TYPE_CHECKING:
    from nas.plan import Plan

PLANS, SKETCHES = 4, 64  # that are kept
LARGEST = 250_000  # letters of a drawing that a page can bear
K = TypeVar("K")
V = TypeVar("V")


@final
@dataclass(frozen=True)
class Sketch:
    """The parts of a network as SVG, its counts for one example, and the parts that are too large to be shown."""

    parts: Mapping[str, str]
    parameters: int
    multiply_adds: int
    activation_bytes: int
    left_out: tuple[str, ...] = ()


@final
@dataclass(frozen=True)
class Field:
    """A decision as a form shows it: options or bounds, when it is open, and the value that stands there at first."""

    name: str
    rule: str
    options: tuple[Json, ...]
    low: float | None
    high: float | None
    whole: bool
    when: tuple[tuple[str, str, Json], ...]
    value: Json


@final
class Studio:
    """Draws and checks, one at a time, and keeps what it has drawn."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self._lock = Lock()
        self._plans: OrderedDict[tuple[str, float], Plan] = OrderedDict()  # by search, and when it was created
        self._sketches: OrderedDict[tuple[str, float, int], Sketch] = OrderedDict()

    def draw(self, search: str, trial: int, candidate: Candidate) -> Sketch:
        """The network of a trial; UserError where its job has no networks, whatever the user's code raises."""
        with self._lock:
            key = (search, self.log.header(search).created, trial)
            known = self._sketches.get(key)
            if known is None:
                known = self._draw(search, f"{search}, trial {trial}", candidate)
                _keep(self._sketches, key, known, SKETCHES)
            return known

    def fields(self, search: str, given: Mapping[str, Json]) -> list[Field]:
        """The decisions of a search, with the values of `given` where it has them."""
        with self._lock:
            decisions = self._plan(search).decisions
            return [_field(name, decision, given) for name, decision in decisions.items()]

    def check(self, search: str, values: Mapping[str, Json]) -> Candidate:
        """The candidate with these values; DecisionError where they break a rule."""
        with self._lock:
            return self._plan(search).decisions.candidate(dict(values))

    def _plan(self, search: str) -> Plan:
        from nas.recorded import current_plan

        key = (search, self.log.header(search).created)
        plan = self._plans.get(key) or current_plan(self.log, search)
        _keep(self._plans, key, plan, PLANS)
        return plan

    def _draw(self, search: str, title: str, candidate: Candidate) -> Sketch:
        from nas.cli.picture import draw
        from nas.drawing import svg
        from nas.jobfile.plugins import beside

        plan = self._plan(search)
        with beside(plan.job.folder):
            described = draw(title, plan.space, candidate, plan.task.signature).description
        graphs = sorted(described.graphs.items(), key=lambda one: one[0] == "network")
        drawn = {name: svg(graph, f"{name} of {title}", paper=False) for name, graph in graphs}
        shown = {name: text for name, text in drawn.items() if len(text) <= LARGEST}
        left_out = tuple(name for name in drawn if name not in shown)
        return Sketch(shown, described.parameters, described.multiply_adds, described.activation_bytes, left_out)


def _field(name: str, decision: Decision, given: Mapping[str, Json]) -> Field:
    when = tuple((c.name, c.relation, c.value) for c in decision.when.clauses) if decision.when else ()
    if isinstance(decision, Choice):
        return Field(
            name, decision.rule, decision.options, None, None, False, when, given.get(name, decision.options[0])
        )
    value = given.get(name, decision.from_unit(0.5))
    return Field(name, decision.rule, (), decision.low, decision.high, decision.integer, when, value)


def _keep(kept: OrderedDict[K, V], key: K, value: V, most: int) -> None:
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > most:
        kept.popitem(last=False)
