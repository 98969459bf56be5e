"""Early: a push that steps while it comes in, behind what is read, before anybody has said that it may."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, final

from parameter_server import parameter_server_pb2 as pb
from parameter_server.messages.codec import Frame
from parameter_server.messages.translation import Came, volume
from parameter_server.shards.admission import RefusedError
from parameter_server.shards.shard import Application, Heading, Shard

LARGE: Final = 2**21  # bytes of numbers from which on it is worth it
REFRAIN: Final = 16  # pushes that are stepped at their end when one was stepped early in vain


@final
class Early:
    """The steps of one push: its numbers are in a cache when they come, and its sender is at work meanwhile.

    The shard's lock is held for each message, and not between them, so a slow network holds nobody up. Whoever else
    writes behind takes it away: then the push begins again with what was kept of it.
    """

    def __init__(self, shard: Shard, heading: Heading) -> None:
        self._shard = shard
        self._places = heading.places
        with shard.lock:
            try:
                ledgers: Sequence[int] = shard.state.uncounted(heading.id, heading.places)
            except RefusedError:
                ledgers = ()  # the shard says so at the end, and nothing is stepped until then
            self.application = Application(shard, heading, ledgers, 0.0)

    def take(self, frame: Frame) -> None:
        """Step by the numbers of a frame, unless they are of no use any more."""
        with self._shard.lock:
            if self.application.stands:
                self.application.chunk(self._places[frame.part], frame.offset, frame.numbers)


def suits(heading: pb.Heading) -> list[Came] | None:
    """The parts of a push, without their numbers, where all of them step as they come; else None."""
    if volume(heading) < LARGE:
        return None
    parts = [Came(part.key, (), None, int(part.values), part.encoding) for part in heading.parts]
    dense = all(part.form == pb.Part.DENSE and part.encoding in ("float32", "float64") for part in heading.parts)
    return parts if dense else None
