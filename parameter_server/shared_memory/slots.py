"""Slot: memory of a client for gradients on their way, which a shard on the same machine maps too.

It belongs to the client: it stays when the shard dies, and goes when the client does. Its first page has words that
either side reads while the other one works; then come numbers, either all that a message is about, or a ring of
chunks that the client fills while the shard empties it, and which stay in the caches of the processor: a push of
16 MB takes 2.4 memory copies by the ring, and 6 where all 16 MB lie in the slot first (measured).
"""

from __future__ import annotations

import fcntl
import mmap
import os
import platform
import tempfile
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np

from parameter_server.messages.packing import CHUNK
from parameter_server.outcome import Outcome
from parameter_server.store import StoreError

if TYPE_CHECKING:
    from numpy.typing import NDArray

CELLS: Final = 4  # chunks of the ring: as much as the cache of a core has
ORDERED: Final = platform.machine() in ("x86_64", "AMD64")  # stores of one core are seen by others in their order
SPINS: Final = 1000  # looks at a word, of 0.2 ms in all, before the processor is left to somebody else
NAP: Final = 5e-5  # seconds; `sched_yield` instead takes 2 to 4 ms each time where others are busy (measured)
DATA: Final = 4096  # where numbers begin
_SERIAL, _FILLED, _EMPTIED, _SUMS = 0, 1, 2, 8  # places of the words
_SEALS: Final = getattr(fcntl, "F_SEAL_SHRINK", 0) | getattr(fcntl, "F_SEAL_GROW", 0) | getattr(fcntl, "F_SEAL_SEAL", 0)


@final
class Slot:
    """A mapped slot with `size` bytes for numbers, from `DATA` on."""

    def __init__(self, descriptor: int) -> None:
        """Takes the descriptor over."""
        self.descriptor = descriptor
        try:
            self.file = mmap.mmap(descriptor, 0)
        except (OSError, ValueError):
            os.close(descriptor)
            raise
        self.size = len(self.file) - DATA
        self._words = memoryview(self.file)[:DATA].cast("Q")
        self._cells: dict[str, list[NDArray[Any]]] = {}

    @classmethod
    def create(cls, size: int) -> Slot:
        """A new slot, with all its memory; raises `StoreError` where there is not so much."""
        length = DATA + max(-(-size // DATA) * DATA, CELLS * CHUNK)
        descriptor = _unnamed()
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(descriptor, 0, length)
            else:
                os.ftruncate(descriptor, length)
            if _sealable():
                fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
        except OSError as error:
            os.close(descriptor)
            raise StoreError(f"there are no {length:,} bytes of memory to push gradients from: {error}") from error
        return cls(descriptor)

    @classmethod
    def received(cls, descriptor: int) -> Slot:
        """A client's slot; raises `StoreError` where it could shrink, which would kill who reads it (SIGBUS)."""
        try:
            if _sealable() and fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & _SEALS != _SEALS:
                raise OSError("it is not sealed")
            if os.fstat(descriptor).st_size < DATA + CELLS * CHUNK:
                raise OSError("it is too small")
        except OSError as error:
            os.close(descriptor)
            raise StoreError(f"this is no slot: {error}", Outcome.CORRUPTED) from error
        slot = cls(descriptor)
        slot.close()  # the mapping is enough, and a process has few descriptors
        return slot

    def cell(self, number: int, dtype: str) -> NDArray[Any]:
        """Where chunk `number` of a push goes in the ring."""
        if dtype not in self._cells:
            count = CHUNK // np.dtype(dtype).itemsize
            self._cells[dtype] = [np.ndarray(count, dtype, self.file, DATA + cell * CHUNK) for cell in range(CELLS)]
        return self._cells[dtype][number % CELLS]

    def begin(self, serial: int) -> None:
        """The client is about to fill the ring for its push of this serial number."""
        self._words[_FILLED] = self._words[_EMPTIED] = 0
        self._words[_SERIAL] = serial

    def begun(self, serial: int) -> bool:
        """Whether the ring is that of this push."""
        return self._words[_SERIAL] == serial

    def vacant(self, number: int) -> bool:
        """Whether the shard has emptied the cell that chunk `number` goes to."""
        return number - self._words[_EMPTIED] < CELLS

    def fill(self, number: int, checksum: int) -> None:
        """The client has copied chunk `number`."""
        self._words[_SUMS + number % CELLS] = checksum
        self._words[_FILLED] = number + 1

    def filled(self, number: int) -> bool:
        """Whether chunk `number` is there."""
        return self._words[_FILLED] > number

    def checksum(self, number: int) -> int:
        """Of chunk `number`, as the client read it."""
        return self._words[_SUMS + number % CELLS]

    def empty(self, number: int) -> None:
        """The shard needs chunk `number` no longer."""
        self._words[_EMPTIED] = number + 1

    def close(self) -> None:
        """Let go of the file; its memory stays for as long as this, or an array in it, is there."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def waited(ready: Callable[[int], bool], number: int, seconds: float) -> bool:
    """Wait for the other side, who is at work; False when it is not ready within `seconds`."""
    for _ in range(SPINS):
        if ready(number):
            return True
    limit = time.perf_counter() + seconds
    while not ready(number):
        if time.perf_counter() > limit:
            return False
        time.sleep(NAP)
    return True


def _unnamed() -> int:
    """A file of memory that has no name."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("cellwright-slot", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _sealable() -> bool:
    return hasattr(os, "memfd_create") and hasattr(fcntl, "F_ADD_SEALS")
