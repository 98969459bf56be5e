"""One shard with a clock that stands still until a test moves it, and short ways to push to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from parameter_server.link import Answer, Part, Push
from parameter_server.optimizers import SGD
from parameter_server.outcome import Outcome
from parameter_server.piece import Piece
from parameter_server.policy import Group, Policy
from parameter_server.shards.heap import HeapMemory
from parameter_server.shards.recorder import Recorder
from parameter_server.shards.shard import Shard
from parameter_server.shards.ticket import Ticket
from parameter_server.store import PushId

if TYPE_CHECKING:
    from parameter_server.store import Array

PLAIN = Policy((Group(SGD(1.0)),))


def whole(name: str, values: Array) -> Piece:
    """A piece that is a tensor of its own."""
    return Piece(name, values.shape, values.dtype.name, 0, values.size)


@dataclass
class Bench:
    """A shard under test; every push is the next of its client, from the version that there is."""

    policy: Policy = PLAIN
    recorder: Recorder | None = None
    now: float = 0.0
    numbers: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.memory = HeapMemory()
        self.shard = self.restarted()

    def restarted(self) -> Shard:
        """Another shard with the same memory, as after the death of the first."""
        self.memory.rollback()
        self.shard = Shard(0, 1, self.memory, self.policy, clock=lambda: self.now, recorder=self.recorder)
        return self.shard

    def create(self, **tensors: Sequence[Any] | Array) -> Bench:
        arrays = {name: np.asarray(values, np.float64) for name, values in tensors.items()}
        self.shard.create([whole(name, values) for name, values in arrays.items()], list(arrays.values()))
        return self

    def join(self, *clients: str) -> Bench:
        for client in clients:
            self.shard.hello(client, 0)
        return self

    def made(
        self, client: str, base: int | None = None, number: int | None = None, **gradients: Sequence[Any] | Array
    ) -> Push:
        """A push, not sent yet."""
        if number is None:
            number = self.numbers.get(client, 0)
            self.numbers[client] = number + 1
        book = self.memory.book
        parts = [Part(f"{name}@0", np.asarray(values, np.float64)) for name, values in gradients.items()]
        base = book.version if base is None else base
        return Push(PushId(client, number), base, int(book.header["table"][0]), parts)

    def push(self, client: str, **gradients: Any) -> Answer | Ticket:
        return self.shard.push(self.made(client, **gradients))

    def outcome(self, client: str, **gradients: Any) -> Outcome | None:
        """What became of a push; None while it waits."""
        answer = self.push(client, **gradients)
        return answer.outcome if isinstance(answer, Answer) else None

    def settled(self) -> dict[str, str]:
        """The outcomes that were waited for, by client."""
        return {ticket.key[0]: answer.outcome.value for ticket, answer in self.shard.settled()}

    def values(self) -> Mapping[str, list[float]]:
        pulled = self.shard.pull([piece.key for piece in self.memory.pieces])
        return {key.removesuffix("@0"): part.tolist() for key, part in pulled.parts.items()}

    def everything(self) -> tuple[bytes, list[list[bytes]]]:
        """All that is durable: the book, and the numbers in front."""
        fronts = [[buffer.tobytes() for buffer in self.memory.front(place)] for place in range(len(self.memory.pieces))]
        return self.memory.book.buffer.tobytes(), fronts
