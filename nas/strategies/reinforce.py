"""Reinforcement learning of a controller (Zoph & Le 2017; Zoph et al. 2018): https://arxiv.org/abs/1611.01578."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Final, TypeAlias, final

from nas.controllers.learning import PRESETS, Learning
from nas.controllers.rewards import Rewards
from nas.ranking import gains
from nas.strategy import Draw, Setting, Strategy
from search_spaces.decisions import Candidate
from workers.errors import UserError
from workers.objectives import Outcome
from workers.trial import Result, Trial

if TYPE_CHECKING:
    from nas.controllers.replica import Replica
    from parameter_server.store import Pull

Key: TypeAlias = tuple[int, int]  # a replica, and the number of a batch of its

REFUSALS: Final = 32  # proposals for one trial after which the scores are halved, again and again


@final
@dataclass(slots=True)
class _Batch:
    """Children of one replica, in the order they were asked; `gains` of those that were told."""

    candidates: dict[int, Candidate] = field(default_factory=dict)
    log_probabilities: list[float] = field(default_factory=list)
    gains: dict[int, float | None] = field(default_factory=dict)
    base: Pull | None = None


@final
@dataclass(eq=False, kw_only=True)
class Reinforce(Strategy):
    """An LSTM writes candidates, one token per decision, and learns to write those that are worth more.

    `replicas` controllers share their parameters through a store. Each samples a `batch` of children from the
    parameters as they are when the batch begins, and pushes its gradients when all of them are told; while it waits,
    the replica with the fewest batches under way samples. With one worker everything is on-policy; with more, some
    batches come from somewhat older parameters, which PPO's ratio accounts for.

    `preset` is `zoph2017` or `nasnet2018`; options given beside it count more. Without one: PPO with rank rewards,
    which suit any objective. `algorithm` is `ppo` or `reinforce`; `reward` is `rank`, `plain`, `cubed` or
    `perplexity` (`nas.controllers.rewards`); the rest is `nas.controllers.learning.Learning`'s. Ranges are searched
    on the grid of their `points`. A child that failed or was infeasible is paid as the worst so far.

    What a refused proposal (`Deduplicate`) is replaced with is sampled alike; with every 32 refusals more evenly, so
    that a controller that has settled on one candidate does not end a search that has more to try.

    Parameters follow from what was told, and are computed at the next ask: 1 ms per trial of six decisions on the
    average (0.4 ms with `zoph2017`), so 100,000 trials that are heard again delay one ask by 2 minutes by default, 80 s
    with `nasnet2018`, 12 s with `zoph2017`. A trial's note holds its `replica`, the number of its `batch`, the
    `version` of the parameters that wrote it, and its `log_probability`.
    """

    objectives_at_most = 1

    setting: Setting = field(kw_only=False)
    preset: str | None = None
    replicas: int = 1
    algorithm: str | None = None
    reward: str | None = None
    layers: int | None = None
    hidden: int | None = None
    shared: bool | None = None
    initial: float | None = None
    temperature: float | None = None
    tanh_constant: float | None = None
    learning_rate: float | None = None
    entropy: float | None = None
    baseline: float | None = None
    batch: int | None = None
    epochs: int | None = None
    clip: float | None = None

    def __post_init__(self) -> None:
        super().__init__(self.setting)
        if self.replicas < 1:
            raise UserError(f"replicas is {self.replicas}, but strategy reinforce needs at least 1")
        self.learning = self._learning()
        self._rewards = Rewards(self.learning.reward, self.setting.objectives[0])
        self._batches: dict[Key, _Batch] = {}
        self._places: dict[int, Key] = {}  # of the trials in batches that are not complete
        self._filling: Key | None = None
        self._started = [0] * self.replicas
        self._waiting = [0] * self.replicas
        self._heard: list[float | None] = []
        self._turns: list[tuple[Key, int]] = []  # batches that began (-1) or ended (so many were heard), in this order
        # All below are caches: what they hold follows from the above.
        self._members: list[Replica] = []
        self._done = 0
        self._paid = 0

    def asked(self, trial: Trial) -> None:
        if "replica" not in trial.note:
            return
        key = trial.note["replica"], trial.note["batch"]
        if key not in self._batches:
            self._batches[key] = _Batch()
            self._turns.append((key, -1))
            self._started[key[0]] += 1
            self._waiting[key[0]] += 1
        batch = self._batches[key]
        batch.candidates[trial.id] = trial.candidate
        batch.log_probabilities.append(trial.note["log_probability"])
        self._places[trial.id] = key
        self._filling = key if len(batch.candidates) < self.learning.batch else None

    def told(self, result: Result) -> None:
        key = self._places.pop(result.trial_id, None)
        if key is None:
            return
        gain = self._gain(result)
        self._heard.append(gain)
        batch = self._batches[key]
        batch.gains[result.trial_id] = gain
        if len(batch.gains) == self.learning.batch:
            self._turns.append((key, len(self._heard)))
            self._waiting[key[0]] -= 1

    def propose(self, draw: Draw) -> Trial:
        """What the replica samples whose turn it is, from the parameters its batch began with."""
        self._catch_up()
        replica, number = self._filling or self._next()
        member, begun = self._members[replica], self._batches.get((replica, number))
        base = member.store.pull() if begun is None or begun.base is None else begun.base
        sample = member.sample(base, draw.generator(), 2.0 ** (draw.proposal // REFUSALS))
        note = {
            "replica": replica,
            "batch": number,
            "version": sum(base.version),
            "log_probability": sample.log_probability,
        }
        return self.trial(draw, sample.candidate, note)

    def _next(self) -> Key:
        """The replica that waits for the fewest batches, and the number of its next."""
        replica = min(range(self.replicas), key=lambda r: (self._waiting[r], self._started[r]))
        return replica, self._started[replica]

    def _gain(self, result: Result) -> float | None:
        if result.outcome is Outcome.INFEASIBLE:
            return None
        found = gains(result.metrics, self.setting.objectives)
        return found[0] if found is not None and math.isfinite(found[0]) else None

    def _catch_up(self) -> None:
        """Let the batches begin and end that did so since the last proposal."""
        members = self._members or self._created()
        while self._done < len(self._turns):
            key, heard = self._turns[self._done]
            self._done += 1
            batch = self._batches[key]
            if heard < 0:
                batch.base = members[0].store.pull()
            else:
                self._end(key, self._batches.pop(key), heard)

    def _end(self, key: Key, batch: _Batch, heard: int) -> None:
        """A batch is told in full: pay for it as of then, and learn from it."""
        from nas.controllers.replica import Batch

        for gain in self._heard[self._paid : heard]:
            self._rewards.hear(gain)
        self._paid = heard
        rewards = [self._rewards.of(batch.gains[trial]) for trial in batch.candidates]
        paid = [reward for reward in rewards if reward is not None]
        if paid and batch.base is not None:  # while everything failed, nothing is known to be better or worse
            candidates = list(batch.candidates.values())
            self._members[key[0]].learn(Batch(key[1], batch.base, candidates, batch.log_probabilities, paid))

    def _created(self) -> list[Replica]:
        from nas.controllers.controller import Controller
        from nas.controllers.replica import Replica
        from parameter_server.memory_store import MemoryStore
        from parameter_server.optimizers import Adam

        learning = self.learning
        controller = Controller(self.setting.decisions, learning)
        store = MemoryStore(Adam(learning.learning_rate))
        self._members = [Replica(number, controller, store, learning) for number in range(self.replicas)]
        for member in self._members:
            member.create(self.setting.seed)
        return self._members

    def _learning(self) -> Learning:
        """The preset, with the options that were given."""
        if self.preset is not None and self.preset not in PRESETS:
            raise UserError(f"preset is {self.preset!r}, but strategy reinforce knows {', '.join(PRESETS)}")
        given: Mapping[str, object] = {
            one.name: getattr(self, one.name) for one in fields(Learning) if getattr(self, one.name) is not None
        }
        learning = PRESETS[self.preset] if self.preset else Learning()
        return replace(learning, **given)  # type: ignore[arg-type]
