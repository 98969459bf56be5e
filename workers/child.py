"""Child: one attempt in the making, from its network to its checkpoint."""

from __future__ import annotations

import contextlib
import gc
import math
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, final

from parameter_server.store import StoreError
from search_spaces.decision import DecisionError
from search_spaces.space import Space, UnfitError
from workers import draining, memory
from workers.artifacts import Artifacts
from workers.device import device_name, device_of
from workers.errors import DivergedError, UserError, in_words
from workers.lineage import CHECKPOINT, Lineage, settle
from workers.objectives import Outcome
from workers.pool import Progress
from workers.redaction import redacted_text
from workers.seeds import derived
from workers.setup import Setup
from workers.spoken import TRACEBACK
from workers.task import Epoch, State, Task
from workers.trial import Attempt, Result
from workers.underway import Underway

if TYPE_CHECKING:
    from torch import nn

    from workers.latency import DeviceLock
    from workers.supernet import Supernet

EXAMPLES = "examples.safetensors"
EXHIBIT = "exhibit-"  # then the epoch, and a name whose suffix says what it is
_NOTHING = contextlib.nullcontext()
SEEN = 128  # examples that proxies look at, as published with NASWOT
EXPECTED = (UserError, DecisionError, UnfitError, DivergedError, StoreError)  # whose message says all a person needs


class InfeasibleError(Exception):
    """A metric is over its ceiling."""


class OverTimeError(Exception):
    """An attempt took longer than it may."""


@final
class Child:
    """One attempt: `train`, `fail` if that raised, then `result`."""

    def __init__(
        self, setup: Setup, task: Task, space: Space | None, artifacts: Artifacts | None, attempt: Attempt
    ) -> None:
        self.setup, self.task, self.space, self.artifacts, self.attempt = setup, task, space, artifacts, attempt
        self.lineage = Lineage(setup, task, space, artifacts)
        self.underway = Underway(setup, artifacts, attempt)
        self.outcome = Outcome.COMPLETED
        self.error: str | None = None
        self.metrics: dict[str, float] = {}
        self.known: dict[str, float] = {}  # before any training
        self.checkpoint: str | None = None
        self.epochs = 0
        self.device_seconds = 0.0
        self.earlier_seconds: float | None = None  # of a device, in the attempts that this one goes on from
        self.device = ""

    def train(self, report: Callable[[Progress], None], supernet: Supernet | None = None) -> None:
        """Build the network, train it and keep its checkpoint; raise what goes wrong.

        Where it is a part of `supernet`, all that it learns stays in there.
        """
        attempt, lock = self.attempt, None
        if attempt.trial.parent is not None and attempt.parent is None:
            raise ValueError(f"trial {attempt.trial.id} continues trial {attempt.trial.parent}, but was not given it")
        self._describe()
        kept = self.underway.found() if self._goes_on else None
        state: State | None = None
        if kept is not None:
            state, self.earlier_seconds = kept.state, kept.seconds
        elif not (supernet or attempt.trial.heir):
            state = self.lineage.state(attempt.parent)
        settle(self.setup.threads, attempt.trial.seed)
        model = self.lineage.network(attempt, inherits=kept is None)
        if model is not None:
            self.device = device_name(getattr(self.task, "device", "auto"))
        if model is not None and "latency" in self.setup.measure:
            lock = self._measure(model)
        if model is not None and attempt.trial.proxy and not self._tests:
            self._look(model)
            return
        if supernet is not None:
            last = self._epochs(self.task.train_shared(attempt, supernet), self._inherited, report, lock)
        else:
            steps = self.task.train(model, attempt.trial, state)
            last = self._epochs(steps, 0 if state is None else state.epoch, report, lock)
        if "seconds" in self.setup.measure:
            self.known["seconds"] = self._trained
        self.metrics = {**self.known, **last.metrics}
        self._within_ceilings(self.metrics)
        self._has_objectives(last.metrics)
        self._keep(last)

    def fail(self, failure: Exception) -> None:
        """Take `failure` for the attempt's end: what it means, in one line for people."""
        self.outcome, self.error = judge(failure)
        if not isinstance(failure, OverTimeError):
            self.metrics = self.known  # a strategy is to hear the worst value seen, not the last before it went wrong
        if self.outcome is Outcome.FAILED and not isinstance(failure, (*EXPECTED, OverTimeError)):
            with contextlib.suppress(UserError):  # what went wrong matters more than a full disk
                self._put(TRACEBACK, redacted_text("".join(traceback.format_exception(failure))).encode())
        failure.__traceback__ = failure.__context__ = failure.__cause__ = None  # their frames hold the network
        gc.collect()
        if (torch := sys.modules.get("torch")) is not None and torch.cuda.is_initialized():
            torch.cuda.empty_cache()

    def result(self, seconds: float) -> Result:
        """What became of the attempt, which took `seconds`."""
        return Result(
            self.attempt.trial.id,
            self.attempt.number,
            self.outcome,
            self.metrics,
            self.epochs,
            seconds,
            self.device_seconds,
            memory.peak(),
            self.error,
            self.checkpoint,
            self.device,
        )

    @property
    def _tests(self) -> bool:
        """Whether this only reads the test set, once, of a network that was already chosen: no limit undoes that."""
        return self.attempt.trial.split == "test"

    @property
    def _goes_on(self) -> bool:
        """Whether attempts at this trial go on from each other.

        Not where nothing is trained, and not with shared weights: these are in the store, their pushes numbered.
        """
        trial = self.attempt.trial
        return trial.epochs > 0 and not trial.shared and not self._tests

    @property
    def _trained(self) -> float:
        """The device seconds behind the state that this has reached, whichever attempt spent them."""
        return self.device_seconds + (self.earlier_seconds or 0.0)

    @property
    def _inherited(self) -> int:
        """The epochs for which a parent has trained what this goes on with."""
        parent = self.attempt.parent
        return 0 if parent is None or self.attempt.trial.heir else parent.trial.epochs

    def _epochs(
        self, steps: Iterator[Epoch], first: int, report: Callable[[Progress], None], lock: DeviceLock | None
    ) -> Epoch:
        """Go through the epochs after the `first` ones and give the last."""
        trial, number = self.attempt.trial, self.attempt.number
        before = first if self.earlier_seconds is None else self._inherited
        done, last, begun = first, None, time.perf_counter()
        while (epoch := self._step(steps, lock)) is not None:
            last, done = epoch, done + 1 if epoch.state is None else epoch.state.epoch
            self.epochs = done - before if first < trial.epochs else 0
            for name, value in epoch.metrics.items():
                if not math.isfinite(value):
                    raise DivergedError(f"the metric {name} is {value} after epoch {done}")
            report(Progress(trial.id, number, done, epoch.metrics))
            self._exhibit(done, epoch.exhibits)
            if not self._tests and done != trial.epochs:
                self._in_time(time.perf_counter() - begun, epoch)
                self._halt(epoch)
        if last is None:
            raise UserError("training ended without any metrics: a task must yield at least once")
        return last

    def _halt(self, epoch: Epoch) -> None:
        """Keep the state now and then; leave it to the next attempt where this machine is going away.

        Where nothing can be kept the training goes on: it may end before the machine does.
        """
        leaving, kept = draining.begun(), self.attempt.trial.shared
        if epoch.state is not None and self._goes_on:
            kept = self.underway.keep(epoch.state, self._trained, now=leaving)
        if leaving and kept:
            raise draining.DrainedError

    def _step(self, steps: Iterator[Epoch], lock: DeviceLock | None) -> Epoch | None:
        """The next epoch, on a device that nobody measures meanwhile."""
        with lock.shared() if lock else _NOTHING:
            started = time.perf_counter()
            epoch = next(steps, None)
            self.device_seconds += time.perf_counter() - started
        return epoch

    def _in_time(self, seconds: float, epoch: Epoch) -> None:
        limit = self.setup.limit(self.attempt.trial)
        if limit is not None and seconds > limit:
            self.metrics = {**self.known, **epoch.metrics}
            raise OverTimeError(f"over its time limit: {seconds:.1f} s of {limit:g} s after {self.epochs} epochs")

    def _describe(self) -> None:
        """The metrics that are known without training."""
        if self.space is not None:
            found = self.space.describe(self.attempt.trial.candidate, self.task.signature)
            self.known = {"parameters": float(found.parameters), "multiply_adds": float(found.multiply_adds)}
            self._within_ceilings(self.known)

    def _measure(self, model: nn.Module) -> DeviceLock:
        """Measure the latency, alone on the device; the lock that training then shares."""
        from workers.latency import DeviceLock, latency

        device = device_of(getattr(self.task, "device", "auto"))
        lock = DeviceLock.of(device)
        with lock.alone():
            started = time.perf_counter()
            self.known["latency"] = latency(model, self.task.signature, device)
            self.device_seconds += time.perf_counter() - started
        self._within_ceilings(self.known)
        return lock

    def _look(self, model: nn.Module) -> None:
        """Score the network as it is; no objective is asked of that."""
        import torch

        from search_spaces.inputs import noise
        from workers.proxy import score

        started = time.perf_counter()
        seed = derived(self.attempt.trial.seed, "minibatch")
        inputs = self.task.minibatch(SEEN, seed)
        if inputs is None:
            inputs = noise(self.task.signature, SEEN, torch.Generator().manual_seed(seed))
        device = device_of(getattr(self.task, "device", "auto"))
        self.metrics = {**self.known, **score(model.to(device), [one.to(device) for one in inputs])}
        self.device_seconds += time.perf_counter() - started
        self._within_ceilings(self.metrics)

    def _within_ceilings(self, metrics: Mapping[str, float]) -> None:
        for name in self.setup.ceilings if not self._tests else ():
            ceiling = self.setup.ceiling(name, self.attempt.trial)
            if name in metrics and metrics[name] > ceiling:
                raise InfeasibleError(f"{name} is {metrics[name]:g}, over its ceiling of {ceiling:g}")

    def _has_objectives(self, given: Mapping[str, float]) -> None:
        missing = [name for name in self.setup.objectives if name not in self.metrics]
        if missing and not self._tests:
            raise UserError(
                f"{missing[0]} is an objective, but training gave {', '.join(given) or 'no metric'}: "
                f"have it yield {missing[0]} as well, or change the objectives"
            )

    def _keep(self, last: Epoch) -> None:
        """Store what the last epoch left behind; a full disk costs the checkpoint, which is trained again if needed."""
        try:
            if last.examples:
                from safetensors.torch import save as pack

                self._put(EXAMPLES, pack({name: value.contiguous() for name, value in last.examples.items()}))
            if last.state is not None and self.artifacts is not None:
                from workers.checkpoint import save

                self._put(CHECKPOINT, save(last.state))
                self.checkpoint = CHECKPOINT
        except UserError as error:
            self.error = str(error)

    def _exhibit(self, epoch: int, exhibits: Mapping[str, bytes]) -> None:
        """Store what a person may look at; a full disk costs just that."""
        with contextlib.suppress(UserError):
            for name, content in exhibits.items():
                self._put(f"{EXHIBIT}{epoch:05}-{name}", content)

    def _put(self, name: str, content: bytes) -> None:
        if self.artifacts is not None:
            trial, number = self.attempt.trial.id, self.attempt.number
            self.artifacts.put(self.setup.search, trial, number, name, content)


def judge(failure: Exception) -> tuple[Outcome, str]:
    """What an exception of a child means, and how to say it in one line."""
    text = redacted_text(" ".join(str(failure).split()))
    if isinstance(failure, draining.DrainedError):
        return Outcome.STOPPED, text
    if isinstance(failure, InfeasibleError):
        return Outcome.INFEASIBLE, text
    if _out_of_memory(failure):
        return Outcome.INFEASIBLE, f"out of memory ({text[:200]}): a smaller network or batch_size may fit"
    if isinstance(failure, (*EXPECTED, OverTimeError)) and text:
        return Outcome.FAILED, text
    return Outcome.FAILED, in_words(failure)


def _out_of_memory(failure: Exception) -> bool:
    """Torch's own class is asked for by name: it must not be imported for this."""
    if isinstance(failure, MemoryError) or type(failure).__name__ == "OutOfMemoryError":
        return True
    text = str(failure)
    return isinstance(failure, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)
