"""A training state as bytes: safetensors, with the plain JSON in its header. Nothing in it is ever executed."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

from workers.errors import DamagedError
from workers.task import State

if TYPE_CHECKING:
    from torch import Tensor

VERSION = 1
MODEL = "model/"


def save(state: State) -> bytes:
    """`state` as a safetensors file; tensors of the model are named `model/<key of its state_dict>`."""
    from safetensors.torch import save as pack

    record = {"version": VERSION, "epoch": state.epoch, "record": dict(state.record)}
    tensors = {name: value.detach().cpu().contiguous() for name, value in state.tensors.items()}
    return pack(tensors, {"cellwright": json.dumps(record)})


def load(content: bytes) -> State:
    """What `save` was given; raises `DamagedError` for anything else."""
    from safetensors import SafetensorError
    from safetensors.torch import load as unpack

    try:
        record = json.loads(_metadata(content)["cellwright"])
        tensors = unpack(content)
    except (SafetensorError, ValueError, KeyError, TypeError, struct.error) as error:
        raise DamagedError(
            f"this is no checkpoint ({type(error).__name__}: {error}): it was torn or is another file"
        ) from error
    if record["version"] != VERSION:
        raise DamagedError(
            f"the checkpoint has version {record['version']}, but {VERSION} is read here: use its release"
        )
    return State(record["epoch"], tensors, record["record"])


def weights(state: State) -> dict[str, Tensor]:
    """The plain `state_dict` of the model in `state`."""
    return {name.removeprefix(MODEL): value for name, value in state.tensors.items() if name.startswith(MODEL)}


def _metadata(content: bytes) -> dict[str, Any]:
    """The free part of a safetensors header: eight bytes of length, then JSON."""
    (length,) = struct.unpack_from("<Q", content)
    found: dict[str, Any] = json.loads(content[8 : 8 + length])["__metadata__"]
    return found
