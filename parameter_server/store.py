"""Store: named tensors that many share; who has gradients pushes them, and the store takes the step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, final

from parameter_server.outcome import Outcome

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[np.floating[Any]]
    Tensors: TypeAlias = Mapping[str, Array]
    Gradients: TypeAlias = "Mapping[str, Array | Rows]"

Version: TypeAlias = tuple[int, ...]  # of each shard, how many updates it had taken; each only grows


class StoreError(ValueError):
    """A name, a shape, a number or a version that cannot be; nothing was changed. The message says what to do."""

    def __init__(self, message: str, outcome: Outcome | None = None) -> None:
        super().__init__(message)
        self.outcome = outcome


@final
class FencedError(StoreError):
    """Another attempt or another driver has taken over: whoever gets this stops, for its work is not wanted."""


@final
class UnreachableError(StoreError):
    """A shard did not answer within the time that was allowed; what it has acknowledged is not lost."""


@final
@dataclass(frozen=True, slots=True)
class PushId:
    """The `number`-th push (from 0) of a client; a client that is issued again has a higher `attempt`.

    The same numbers are the same pushes in every attempt. A client numbers in order, and leaves at most
    `WINDOW` of them unanswered.
    """

    client: str
    number: int
    attempt: int = 0


WINDOW = 64  # pushes of a client that are told apart, back from its highest number; older ones count as duplicates


@final
@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """The gradient of some rows (along the first axis) of a tensor; rows that come twice add up.

    `indices` has the shape `(k,)` and integers, `values` `(k, *shape[1:])`. Other rows, and what the optimizer
    remembers of them, stay as they are (as in `torch.optim.SparseAdam`).
    """

    indices: NDArray[np.int64]
    values: Array


@final
@dataclass(frozen=True, slots=True)
class Pull:
    """Tensors as they were at one moment of each shard, not to be written to."""

    version: Version
    tensors: Tensors


@final
@dataclass(frozen=True, slots=True)
class Pushed:
    """What each shard that the push went to said, and the versions it made there (elsewhere those it came from)."""

    version: Version
    outcomes: tuple[Outcome, ...]

    @property
    def counted(self) -> bool:
        """Whether the push is in the parameters, once, on every shard."""
        return all(outcome.counted for outcome in self.outcomes)


class Store(ABC):
    """Named tensors with versions; many clients, in many threads, may use one object."""

    @abstractmethod
    def create(self, tensors: Tensors) -> tuple[str, ...]:
        """Add the tensors whose names are new, and give those names; a tensor that exists stays as it is.

        Raises `StoreError` for what is neither float32 nor float64, or not finite.
        """

    @abstractmethod
    def pull(
        self, names: Iterable[str] | None = None, newer_than: Version | None = None, into: Tensors | None = None
    ) -> Pull:
        """The tensors called `names` (all by default), or only those of them that changed after `newer_than`.

        One that was created since is as old as the version then, until somebody pushes to it: ask for it by its name.
        A shard that holds none of `names` is not asked: its version is that of `newer_than`, or 0. Tensors that `into`
        has are written there and given back: arrays in C order of the same type and shape, for example those of a
        model's parameters. Memory that was used before costs a tenth of new memory. Raises `StoreError` for an unknown
        name, and for arrays that do not fit.
        """

    @abstractmethod
    def push(self, gradients: Gradients, base: Version, push_id: PushId) -> Pushed:
        """Take one step against `gradients`, which were computed from the parameters of version `base`.

        A push counts once, however often it is sent. A synchronous store answers when the round is complete, a
        bounded one when the slowest client is near enough. Outcomes `late` and `stale` are answers, not errors.
        Raises `StoreError` for an unknown name, another shape or type, a number that is not finite, or a version
        from the future; `FencedError` when another attempt has taken over.
        """

    @abstractmethod
    def join(self, client: str, attempt: int = 0) -> int:
        """Take a place in rounds and bounds, under a lease that every call of the client renews.

        Gives the number of the client's next push: 0 for a new one, else one more than the highest that was seen.
        A store joins by itself for who pushes without having joined. Raises `FencedError` when there is a higher
        attempt.
        """

    @abstractmethod
    def beat(self, client: str, attempt: int = 0) -> None:
        """Renew the lease of a client that has nothing to say for now."""

    @abstractmethod
    def leave(self, client: str, attempt: int = 0) -> None:
        """Give up the place in rounds and bounds; what was pushed stays, and its numbers stay known."""

    def close(self) -> None:
        """Let go of connections and memory; the tensors stay where they are."""
