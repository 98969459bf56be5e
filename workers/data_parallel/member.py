"""Member: one of the workers that share a training: it pulls, learns a batch, pushes the gradient."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, final

import torch

from parameter_server.outcome import Outcome
from parameter_server.store import Pushed, PushId, Store, StoreError, Version
from workers.batches import Batches
from workers.data_parallel.dealer import Deal
from workers.data_parallel.parallel_training import LEASE
from workers.data_parallel.tally import Learned
from workers.errors import DivergedError
from workers.optimization import rate_factor

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

RECOVERED = 2**39  # versions of a shard that has lost some of its own leap by more
PAUSE = 0.05  # seconds before the same push is sent again
BEATS = 4  # in the time of a lease


def weights(model: nn.Module) -> dict[str, nn.Parameter]:
    """What is trained of `model`, by name."""
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


def arrays(model: nn.Module) -> dict[str, NDArray[np.float32]]:
    """The weights as a store takes them, copied."""
    return {
        name: weight.detach().to("cpu", torch.float32, copy=True).contiguous().numpy()
        for name, weight in weights(model).items()
    }


@torch.no_grad()
def adopt(model: nn.Module, tensors: Mapping[str, NDArray[np.floating]]) -> None:
    """Give `model` the weights of a store."""
    known = weights(model)
    for name, tensor in tensors.items():
        known[name].copy_(torch.tensor(tensor))


def missed(pushed: Pushed, base: Version) -> int | None:
    """How many updates a push had not seen, on the shard where these were most; None where none applied it now."""
    outcomes = pushed.outcomes if len(pushed.outcomes) == len(base) else (min(pushed.outcomes),) * len(base)
    shards = zip(outcomes, pushed.version, base, strict=True)
    missed = [after - before - 1 for outcome, after, before in shards if outcome is Outcome.APPLIED]
    return max((one for one in missed if one < RECOVERED), default=None)


@final
class Member:
    """A client of the store, called after its slot; a process that takes another's slot has a higher `attempt`."""

    def __init__(self, store: Store, slot: int, attempt: int, batches: Batches) -> None:
        self.client, self.attempt, self.slot = f"worker-{slot}", attempt, slot
        self.store, self.batches = store, batches
        self._names = list(weights(batches.model))
        self._version: Version | None = None
        self._present = threading.Event()

    def join(self) -> int:
        """Take part; gives the number of the next push that the store expects."""
        number = self.store.join(self.client, self.attempt)
        self._present.set()
        return number

    def rest(self) -> None:
        """Let nobody wait for this worker until it learns again."""
        self._present.clear()
        self.store.leave(self.client, self.attempt)

    def learn(self, deal: Deal) -> Learned:
        """Compute a batch's gradient, as often as it takes until it counts; raises `DivergedError`."""
        push_id, tries = PushId(self.client, deal.number, self.attempt), 0
        if not self._present.is_set():
            self.join()
        while True:
            tries += 1
            base = self._pull()
            loss = self.batches.learn(deal.batch)
            if not math.isfinite(loss):
                raise DivergedError(f"the loss of batch {deal.batch} is {loss}: a lower learning rate may help")
            pushed = self._push(self._gradients(deal.batch), base, push_id)
            if pushed.counted:
                break  # else it was too late or too stale: the same batch, from newer parameters
        examples, staleness = self.batches.examples(deal.batch), missed(pushed, base)
        return Learned(self.slot, deal.number, deal.batch, loss, examples, staleness, tries)

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Keep the lease while a batch takes long."""
        over = threading.Event()

        def beat() -> None:
            while not over.wait(LEASE / BEATS):
                if self._present.is_set():
                    with suppress(StoreError):  # the next push will say it
                        self.store.beat(self.client, self.attempt)

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _pull(self) -> Version:
        pulled = self.store.pull(self._names, self._version)
        adopt(self.batches.model, pulled.tensors)
        self._version = pulled.version
        return pulled.version

    def _push(self, gradients: Mapping[str, NDArray[np.float32]], base: Version, push_id: PushId) -> Pushed:
        while True:
            pushed = self.store.push(gradients, base, push_id)
            if pushed.counted or not any(outcome.again for outcome in pushed.outcomes):
                return pushed
            time.sleep(PAUSE)

    @torch.no_grad()
    def _gradients(self, batch: int) -> dict[str, NDArray[np.float32]]:
        """With weight decay, times the course of the learning rate; a weight that was not used has a gradient of 0."""
        recipe = self.batches.recipe
        factor = rate_factor(recipe, self.batches.place(batch)) * self.batches.share(batch)
        found = {}
        for name, weight in weights(self.batches.model).items():
            gradient = torch.zeros_like(weight) if weight.grad is None else weight.grad
            if recipe.weight_decay:
                gradient = gradient.add(weight, alpha=recipe.weight_decay)
            found[name] = (gradient * factor).to("cpu", torch.float32).contiguous().numpy()
        return found
