"""Store: named tensors that many share; who has gradients pushes them, and the store takes the step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeAlias, final

from parameter_server.optimizers import Optimizer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[np.floating[Any]]
    Tensors: TypeAlias = Mapping[str, Array]

SHOWN = 8  # names in a message


class StoreError(ValueError):
    """A name, a shape, a number or a version that cannot be; nothing was changed. The message says what to do."""


@final
@dataclass(frozen=True, slots=True)
class Pull:
    """Tensors as they were at one moment, not to be written to; `version` counts the pushes until then."""

    version: int
    tensors: Tensors


class Store(ABC):
    """Named tensors with versions; the version of the whole is the number of pushes that were applied."""

    @abstractmethod
    def create(self, tensors: Tensors) -> tuple[str, ...]:
        """Add the tensors whose names are new, and give those names; a tensor that exists stays as it is."""

    @abstractmethod
    def pull(self, names: Iterable[str] | None = None, newer_than: int | None = None) -> Pull:
        """The tensors called `names` (all by default), or only those of them that changed after version `newer_than`.

        Raises `StoreError` for an unknown name.
        """

    @abstractmethod
    def push(self, gradients: Tensors, base_version: int, push_id: str) -> int:
        """Take one step against `gradients`, computed at `base_version`; give the version that this made.

        A `push_id` counts once: when it comes again nothing happens, and the answer is the first one. Raises
        `StoreError` for an unknown name, another shape, a number that is not finite, or a version from the future.
        """


@final
class MemoryStore(Store):
    """A store in this process; many threads may share it."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self._lock = Lock()
        self._version = 0
        self._tensors: dict[str, Array] = {}
        self._changed: dict[str, int] = {}
        self._slots: dict[str, dict[str, Array]] = {}
        self._applied: dict[str, int] = {}

    def create(self, tensors: Tensors) -> tuple[str, ...]:
        with self._lock:
            created = tuple(name for name in tensors if name not in self._tensors)
            for name in created:
                self._tensors[name] = _frozen(tensors[name].copy())
                self._changed[name] = self._version
                self._slots[name] = self.optimizer.slots(tensors[name])
            return created

    def pull(self, names: Iterable[str] | None = None, newer_than: int | None = None) -> Pull:
        with self._lock:
            wanted = list(self._tensors if names is None else names)
            self._known(wanted)
            if newer_than is not None:
                wanted = [name for name in wanted if self._changed[name] > newer_than]
            return Pull(self._version, {name: self._tensors[name] for name in wanted})

    def push(self, gradients: Tensors, base_version: int, push_id: str) -> int:
        with self._lock:
            if push_id in self._applied:
                return self._applied[push_id]
            self._check(gradients, base_version)
            self._version += 1
            for name, gradient in gradients.items():
                self._tensors[name] = _frozen(
                    self.optimizer.step(self._tensors[name], gradient, self._slots[name])
                )  # a new array, so that what was pulled before stays as it was
                self._changed[name] = self._version
            self._applied[push_id] = self._version
            return self._version

    def _known(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self._tensors:
                there = ", ".join(list(self._tensors)[:SHOWN]) or "none"
                raise StoreError(f"there is no tensor {name!r}: create it first; there are {there}")

    def _check(self, gradients: Tensors, base_version: int) -> None:
        self._known(gradients)
        if not 0 <= base_version <= self._version:
            raise StoreError(
                f"the gradients come from version {base_version}, but there were {self._version} pushes so far: "
                "pull first, and push with the version that it gave"
            )
        for name, gradient in gradients.items():
            shape = self._tensors[name].shape
            if gradient.shape != shape:
                raise StoreError(f"the gradient of {name} has the shape {gradient.shape}, but the tensor has {shape}")
            if not _finite(gradient):
                raise StoreError(f"the gradient of {name} is not finite: leave out the batch that made it so")


def _finite(array: Array) -> bool:
    import numpy as np

    return bool(np.isfinite(array).all())


def _frozen(array: Array) -> Array:
    array.flags.writeable = False
    return array
