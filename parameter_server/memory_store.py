"""MemoryStore: a store in this process."""

from __future__ import annotations

from collections.abc import Iterable
from threading import Lock
from typing import TYPE_CHECKING, final

from parameter_server.optimizers import Optimizer
from parameter_server.outcome import Outcome
from parameter_server.store import Pull, Pushed, PushId, Rows, Store, StoreError, Version

if TYPE_CHECKING:
    from parameter_server.store import Array, Gradients, Tensors

SHOWN = 8  # names in a message


@final
class MemoryStore(Store):
    """A store in this process; many threads may share it."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self._lock = Lock()
        self._version = 0
        self._tensors: dict[str, Array] = {}
        self._changed: dict[str, int] = {}
        self._slots: dict[str, tuple[Array, ...]] = {}
        self._steps: dict[str, int] = {}
        self._applied: dict[tuple[str, int], int] = {}

    def create(self, tensors: Tensors) -> tuple[str, ...]:
        import numpy as np

        with self._lock:
            start = self.optimizer.start
            created = tuple(name for name in tensors if name not in self._tensors)
            for name in created:
                self._tensors[name] = _frozen(tensors[name].copy())
                self._changed[name] = self._version
                self._slots[name] = tuple(np.full_like(tensors[name], start) for _ in self.optimizer.slots)
                self._steps[name] = 0
            return created

    def pull(self, names: Iterable[str] | None = None, newer_than: Version | None = None) -> Pull:
        with self._lock:
            wanted = list(self._tensors if names is None else names)
            self._known(wanted)
            if newer_than is not None:
                wanted = [name for name in wanted if self._changed[name] > newer_than[0]]
            return Pull((self._version,), {name: self._tensors[name] for name in wanted})

    def push(self, gradients: Gradients, base: Version, push_id: PushId) -> Pushed:
        import numpy as np

        key = push_id.client, push_id.number
        with self._lock:
            if key in self._applied:
                return Pushed((self._applied[key],), (Outcome.DUPLICATE,))
            self._check(gradients, base[0])
            self._version += 1
            for name, gradient in gradients.items():
                assert not isinstance(gradient, Rows)
                self._steps[name] += 1
                now = (self._tensors[name], *self._slots[name])
                new = tuple(np.empty_like(one) for one in now)  # so that what was pulled before stays as it was
                self.optimizer.step(now, new, gradient, self._steps[name])
                self._tensors[name], self._slots[name] = _frozen(new[0]), new[1:]
                self._changed[name] = self._version
            self._applied[key] = self._version
            return Pushed((self._version,), (Outcome.APPLIED,))

    def join(self, client: str, attempt: int = 0) -> int:
        with self._lock:
            return 1 + max((number for name, number in self._applied if name == client), default=-1)

    def beat(self, client: str, attempt: int = 0) -> None:
        pass

    def leave(self, client: str, attempt: int = 0) -> None:
        pass

    def _known(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self._tensors:
                there = ", ".join(list(self._tensors)[:SHOWN]) or "none"
                raise StoreError(f"there is no tensor {name!r}: create it first; there are {there}")

    def _check(self, gradients: Gradients, base_version: int) -> None:
        import numpy as np

        self._known(gradients)
        if not 0 <= base_version <= self._version:
            raise StoreError(
                f"the gradients come from version {base_version}, but there were {self._version} pushes so far: "
                "pull first, and push with the version that it gave"
            )
        for name, gradient in gradients.items():
            assert not isinstance(gradient, Rows)
            shape = self._tensors[name].shape
            if gradient.shape != shape:
                raise StoreError(f"the gradient of {name} has the shape {gradient.shape}, but the tensor has {shape}")
            if not np.isfinite(gradient).all():
                raise StoreError(f"the gradient of {name} is not finite: leave out the batch that made it so")


def _frozen(array: Array) -> Array:
    array.flags.writeable = False
    return array
