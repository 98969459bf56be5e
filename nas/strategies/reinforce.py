"""Reinforcement learning of a controller (Zoph & Le 2017; Zoph et al. 2018): https://arxiv.org/abs/1611.01578."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, fields, replace
from statistics import fmean
from typing import TYPE_CHECKING, Final, final

from nas.controllers.batches import Batches
from nas.controllers.learning import PRESETS, Learning
from nas.controllers.rewards import Rewards
from nas.ranking import gains
from nas.strategy import Draw, Setting, Strategy
from workers.errors import UserError
from workers.objectives import Outcome
from workers.trial import Result, Trial

if TYPE_CHECKING:
    from nas.controllers.batches import Key, OpenBatch
    from nas.controllers.replica import Replica
    from nas.controllers.shared import Shared
    from parameter_server.store import Pull

WORTH: Final = 100  # turns of batches that are not learned again for nothing: a second's work
LARGEST: Final = 1 << 23  # bytes of the parameters that open batches sample; more are not kept
REFUSALS: Final = 32  # proposals for one trial after which the scores are halved, again and again


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

    With `shards` the parameters are on so many shards, in processes of their own, which outlive the driver: the next
    one adopts them, and every batch counts once (a batch that began before is learned from the parameters of now, its
    children weighed by how likely these make them). `hosts` processes compute the gradients, else the driver does; what
    is sampled then depends on which gradient came first, as it did where this was published (20 shards, 100 replicas).

    What a refused proposal (`Deduplicate`) is replaced with is sampled alike; with every 32 refusals more evenly, so
    that a controller that has settled on one candidate does not end a search that has more to try.

    Parameters follow from what was told, and are computed at the next ask: 1.4 ms per trial of six decisions on the
    average (0.5 ms with `zoph2017`). The next driver goes on from a snapshot of them, which the journal has 10 s after
    they were learned; without it 100,000 trials that are heard again delay one ask by 3 minutes by default, 90 s with
    `nasnet2018`, 17 s with `zoph2017`. A trial's note holds its `replica`, the number of its `batch`, the
    `version` of the parameters that wrote it (added up over shards), and its `log_probability`.
    """

    objectives_at_most = 1

    setting: Setting = field(kw_only=False)
    preset: str | None = None
    replicas: int = 1
    shards: int = 0
    hosts: int = 0
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
        if min(self.shards, self.hosts) < 0 or (self.hosts and not self.shards):
            raise UserError(
                f"shards is {self.shards} and hosts {self.hosts}, but neither can be below 0, and hosts, which are "
                "processes, need parameters on shards: give shards, or leave out hosts"
            )
        self.learning = self._learning()
        self._rewards = Rewards(self.learning.reward, self.setting.objectives[0])
        known = self.replicas, self.setting.objectives, self.setting.seed, list(self.setting.decisions.items())
        self._batches = Batches(self.replicas, self.learning.batch, f"{self.learning} {known}")
        # All below are caches: what they hold follows from the above.
        self._members: list[Replica] = []
        self._shared: Shared | None = None
        self._done = 0  # of the turns of the batches
        self._paid = 0
        self._gone = 0  # of the turns, those that an earlier driver lived through with the same store
        self._pulled: tuple[Key, int, Pull] | None = None  # for a batch that has not begun, after so many turns

    def asked(self, trial: Trial) -> None:
        if "replica" in trial.note:
            self._batches.asked(trial)

    def told(self, result: Result) -> None:
        if result.trial_id in self._batches:
            self._batches.told(result.trial_id, self._gain(result))

    def propose(self, draw: Draw) -> Trial:
        """What the replica samples whose turn it is, from the parameters its batch began with."""
        self._catch_up()
        replica, number = self._batches.next()
        base = self._base((replica, number))
        sample = self._members[replica].sample(base, draw.generator(), 2.0 ** (draw.proposal // REFUSALS))
        note = {
            "replica": replica,
            "batch": number,
            "version": sum(base.version),
            "log_probability": sample.log_probability,
        }
        return self.trial(draw, sample.candidate, note)

    def gauges(self) -> Mapping[str, float]:
        """The entropy is estimated by the mean of -log p over the last children, which the journal has."""
        baselines = [member.baseline.value for member in self._members if member.baseline.value is not None]
        return {
            "policy_entropy_nats": -fmean(recent) if (recent := self._batches.recent) else math.nan,
            "policy_entropy_limit_nats": sum(math.log(len(one.points)) for one in self.setting.decisions.values()),
            "policy_baseline": fmean(baselines) if baselines else math.nan,
        }

    def _base(self, key: Key) -> Pull:
        """The parameters that a batch samples from, those of its beginning."""
        begun = self._batches.open.get(key)
        if begun is not None and begun.base is not None:
            return begun.base
        if self._pulled is None or self._pulled[:2] != (key, self._done):
            self._pulled = (key, self._done, self._members[key[0]].store.pull())
        return self._pulled[2]

    def _gain(self, result: Result) -> float | None:
        if result.outcome is Outcome.INFEASIBLE:
            return None
        found = gains(result.metrics, self.setting.objectives)
        return found[0] if found is not None and math.isfinite(found[0]) else None

    def _catch_up(self) -> None:
        """Let the batches begin and end that did so since the last proposal."""
        self._members = self._members or self._created()
        batches = self._batches
        while self._done < len(batches.turns):
            key, heard = batches.turns[self._done]
            if heard >= 0:
                self._end(key, batches.open.pop(key), heard)
            elif self._done >= self._gone:
                batches.open[key].base = self._base(key)
            self._done += 1

    def _end(self, key: Key, batch: OpenBatch, heard: int) -> None:
        """A batch is told in full: pay for it as of then, and learn from it."""
        from nas.controllers.replica import Batch

        for gain in self._batches.heard[self._paid : heard]:
            self._rewards.hear(gain)
        self._paid = heard
        rewards = [self._rewards.of(batch.gains[trial]) for trial in batch.candidates]
        paid = [reward for reward in rewards if reward is not None]
        if paid:  # while everything failed, nothing is known to be better or worse
            children = list(batch.candidates.values()), batch.log_probabilities
            self._members[key[0]].learn(Batch(batch.number, batch.base, *children, paid, batch.lane))

    def _created(self) -> list[Replica]:
        self._shared = shared = self._opened()
        members = self._replicas(shared)
        if not members[0].create(self.setting.seed):
            self._gone = len(self._batches.turns)
        return members

    def _opened(self, image: bytes = b"") -> Shared:
        from nas.controllers.shared import Shared

        return Shared(self.setting, self.learning, self.shards, self.hosts, image)

    def _replicas(self, shared: Shared) -> list[Replica]:
        from nas.controllers.replica import Replica

        known = shared.controller, shared.store, self.learning, shared.placement
        return [Replica(number, *known) for number in range(self.replicas)]

    def snapshot(self) -> bytes | None:
        """What the batches so far have made of the parameters; shards, which outlive the driver, keep them themselves.

        Of open batches PPO needs the parameters of the newest alone, from which it samples on; REINFORCE those of all.
        """
        if self._shared is None or self.shards or self._done < WORTH:
            return None
        from nas.controllers.recollection import Recollection
        from parameter_server.memory_store import MemoryStore

        bases = {key: batch.base for key, batch in self._batches.open.items() if batch.base is not None}
        if self.learning.algorithm == "ppo":
            bases = dict(list(bases.items())[-1:])
        different = {base.version: base for base in bases.values()}
        store = self._shared.store
        size = sum(tensor.nbytes for base in different.values() for tensor in base.tensors.values())
        if size > LARGEST or not isinstance(store, MemoryStore):
            return None
        baselines = [member.baseline.value for member in self._members]
        after = self.setting.driver, self._done, self._batches.marks[self._done - 1]
        return Recollection(*after, store.images()[0], baselines, bases).content()

    def recall(self, content: bytes) -> bool:
        if self.shards or self._members:
            return False
        from nas.controllers.recollection import Recollection
        from nas.controllers.verification import verify

        with ExitStack() as opened:
            try:
                found = Recollection.of(content)
                if found.mark != self._batches.mark(found.turns) or found.driver > self.setting.driver:
                    return False
                shared = self._opened(found.image)
                opened.callback(shared.close)
                past = self._batches.past(found.turns)
                verify(found, past, shared, self.learning, self.replicas, self.setting.driver)
            except Exception:  # bytes that were made up can fail in any way, and nothing of ours is touched so far
                return False
            opened.pop_all()
        self._shared, self._members = shared, self._replicas(shared)
        for member, value in zip(self._members, found.baselines, strict=True):
            member.baseline.value = value
        self._batches.resume(past, found.bases)
        self._rewards.hear_all(self._batches.heard[: past.heard])
        self._paid, self._done = past.heard, found.turns
        return True

    def close(self) -> None:
        if self._shared is not None:
            self._shared.close()

    def _learning(self) -> Learning:
        """The preset, with the options that were given."""
        if self.preset is not None and self.preset not in PRESETS:
            raise UserError(f"preset is {self.preset!r}, but strategy reinforce knows {', '.join(PRESETS)}")
        given: Mapping[str, object] = {
            one.name: getattr(self, one.name) for one in fields(Learning) if getattr(self, one.name) is not None
        }
        learning = PRESETS[self.preset] if self.preset else Learning()
        return replace(learning, **given)  # type: ignore[arg-type]
