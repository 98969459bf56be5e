"""Link: one shard, as a client reaches it; the same messages in this process, over shared memory, and over gRPC."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from parameter_server.outcome import Outcome
from parameter_server.piece import Piece
from parameter_server.policy import Policy
from parameter_server.statistics import Statistics
from parameter_server.store import PushId

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from parameter_server.store import Array


@final
@dataclass(frozen=True, slots=True)
class Welcome:
    """What a shard says of itself: `table` is the version of its pieces, `numbers` the next push of the client."""

    shard: int
    shards: int
    policy: Policy
    table: int
    pieces: tuple[Piece, ...]
    version: int
    number: int


@final
@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """The gradient of one piece: all its elements, flat; or with `rows`, those of some rows of the tensor.

    `rows` are numbers of rows of the whole tensor, all in this piece, ascending, none twice.
    """

    key: str
    values: Array
    rows: NDArray[np.int64] | None = None


@final
@dataclass(frozen=True, slots=True, eq=False)
class Push:
    """Gradients for pieces of one shard. `scale` multiplies them (the clipping of the whole push's norm)."""

    id: PushId
    base: int
    table: int
    parts: Sequence[Part]
    scale: float = 1.0


@final
@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a push, the version it made (or that there is), and for people why it was refused."""

    outcome: Outcome
    version: int
    reason: str = ""


@final
@dataclass(frozen=True, slots=True, eq=False)
class Pulled:
    """Numbers of pieces by key, all of one version; they belong to who asked, and stay as they are.

    `table` is the version of the shard's pieces, by which a client sees that others have created more; -1: not said.
    """

    version: int
    parts: dict[str, Array]
    table: int = -1


class Link(ABC):
    """A connection to one shard; threads may share it. It connects again by itself for as long as a call may take.

    Every call ends within its deadline: `UnreachableError` is raised when the shard did not answer until then. Every
    method may be called again with the same arguments after that, and takes effect once.
    """

    @abstractmethod
    def hello(self, client: str, attempt: int) -> Welcome:
        """Join, or ask again; raises `FencedError` for an attempt that is not the highest. `client` "" only asks."""

    @abstractmethod
    def create(self, pieces: Sequence[Piece], values: Sequence[Array]) -> tuple[str, ...]:
        """Add the pieces whose keys are new, and give these keys; a piece that exists stays as it is."""

    @abstractmethod
    def push(self, push: Push) -> Answer:
        """Have a gradient applied; waits for the barrier or the bound, if it must, for as long as a call may take."""

    @abstractmethod
    def pull(
        self, keys: Sequence[str], newer_than: int | None = None, into: Mapping[str, Array] | None = None
    ) -> Pulled:
        """These pieces, or those of them that changed after a version; raises `StoreError` for an unknown key.

        Where `into` has a flat array of the piece's type and size for a key, a link may write there instead of into
        new memory, and give that very array: the parts of a tensor come to lie next to each other without a copy, and
        memory that was used before costs a tenth of new memory, whose pages the kernel must find first.
        """

    @abstractmethod
    def beat(self, client: str, attempt: int) -> None:
        """Renew a lease; raises `FencedError` as `hello` does, and joins when the lease had lapsed."""

    @abstractmethod
    def leave(self, client: str, attempt: int) -> None:
        """Give up a lease."""

    @abstractmethod
    def snapshot(self) -> str:
        """Have the shard write its state now; gives the path of the file on the shard's machine."""

    @abstractmethod
    def statistics(self) -> Statistics:
        """What the shard has counted."""

    @property
    def process(self) -> Hashable:
        """What is the same for links to shards of one process, which `push_together` reaches in one go; None: nothing.

        Such links are best used by one thread, in turn, for a thread each would only wait for the others.
        """
        return None

    def push_together(self, pushes: Sequence[tuple[Link, Push]]) -> list[Answer]:
        """What each of these links answers to its push; all are links of this one's `process`."""
        return [link.push(push) for link, push in pushes]

    def begin_together(self, pushes: Sequence[tuple[Link, Push]]) -> Callable[[], list[Answer]] | None:
        """Send pushes as `push_together` does, and give what waits for the answers; None: it sent nothing.

        So one thread has several processes work at once. Only small pushes are sent so, which takes next to no time.
        """
        return None

    def close(self) -> None:
        """Let go of the connection."""
