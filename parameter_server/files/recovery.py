"""Recovery: a shard's memory from what its last process left: the arena, else a snapshot (and log), else nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, final

from parameter_server.files.log import Log, replay, segments
from parameter_server.files.snapshot import Found, newest, number_of
from parameter_server.shards.heap import HeapMemory
from parameter_server.shards.shard import ignore
from parameter_server.shards.state import State
from parameter_server.shared_memory.arena import Arena
from parameter_server.shared_memory.arena_plan import UnsoundError
from parameter_server.store import StoreError

if TYPE_CHECKING:
    from parameter_server.policy import Policy
    from parameter_server.processes.life import Life
    from parameter_server.shards.memory import Memory


@final
@dataclass(frozen=True, slots=True)
class Recovered:
    """A memory, what it is from (one of `SOURCES`), and what was found damaged on the way there.

    `older`: something that was acknowledged may be missing, so the memory has begun a new incarnation.
    """

    memory: Memory
    source: str
    log: Log | None
    older: bool
    damages: tuple[str, ...]


def recover(folder: Path, policy: Policy, durability: str, life: Life) -> Recovered:
    """Go on from the best that there is; raises `StoreError` when the disk has no room.

    A death anywhere in here leaves what there was, for the new arena takes the place of the old one in one step.
    """
    path, logged = folder / "arena", durability == "power"
    damages: list[str] = []
    try:
        arena = Arena.open(path)
        log = Log(folder, arena.book.version, arena.pieces) if logged else None
        return Recovered(arena, "arena", log, False, ())
    except FileNotFoundError:
        pass
    except (ValueError, LookupError, TypeError) as error:
        if isinstance(error, StoreError) and not isinstance(error, UnsoundError):
            raise
        damages.append(f"{path} is of no use: {error}")
    found = newest(folder)
    memory, source, whole = _from_disk(folder, found, policy, logged, life.before.ended, damages)
    version = memory.book.version
    header = memory.book.header
    begun_anew = int(header["incarnation"][0]) < life.before.incarnation  # by one who died before its first snapshot
    older = life.before.begun > 0 and (begun_anew or not whole)
    if older:
        header["incarnation"] = max(int(header["incarnation"][0]), life.before.incarnation)
        memory.book.reincarnate()
        life.incarnate(int(header["incarnation"][0]))
        damages.append(f"went on from {source or 'nothing'}, which may lack what was acknowledged last")
    log = Log(folder, version, memory.pieces) if logged else None  # which cuts off what could not be taken
    fronts = [memory.front(place) for place in range(len(memory.pieces))]
    try:
        arena = Arena.create(path, memory.pieces, fronts, memory.book)
    except BaseException:
        if log is not None:
            log.close()
        raise
    found.set_aside()
    return Recovered(arena, source, log, older, tuple(damages))


def _from_disk(
    folder: Path, found: Found, policy: Policy, logged: bool, ended: int, damages: list[str]
) -> tuple[HeapMemory, str, bool]:
    """What snapshot and log give, what that is called, and whether it is sure to have all that was acknowledged.

    The process before wrote its last snapshot at version `ended`. The one before that may have the same version, and
    lack tensors or attempts all the same.
    """
    memory = HeapMemory()
    damages += found.damages
    source = ""
    if found.image is not None:
        found.image.pour(memory, policy)
        source = "previous snapshot" if found.damages else "snapshot"
    last = found.image is not None and not found.damages and memory.book.version == ended
    if not logged:
        return memory, source, last
    replayed = replay(folder, found.number, State(memory, policy, None, ignore))
    damages += replayed.damages + replayed.torn
    if replayed.updates:
        source = f"{source} and log" if source else "log"
    begun = any(number_of(path) == found.number for path in segments(folder))
    return memory, source, last or (begun and not replayed.damages and not replayed.torn)
