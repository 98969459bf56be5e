"""Checkpoint: a whole store in a folder, one snapshot per shard; it loads into any number of shards."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, final

import numpy as np

from parameter_server.files.resharding import resharded, stretches
from parameter_server.files.snapshot import Image, digest_of, read_image, sync_folder, write_image
from parameter_server.processes.folder import Folder
from parameter_server.store import StoreError

if TYPE_CHECKING:
    from parameter_server.clients.client import ShardedStore
    from parameter_server.store import Array

FORMAT: Final = 1
MANIFEST: Final = "checkpoint.json"
_TRIES: Final = 5


def save_checkpoint(store: ShardedStore, folder: Path) -> None:
    """Write a checkpoint of a store that goes on meanwhile; each shard as it is at a moment of its own.

    `folder` must be new, and see the folders of the shards. A push that is under way may be in some of the shards; sent
    again after the checkpoint was loaded, it is completed. Raises `StoreError`, and `OSError` where there is no room.
    """
    with _New(folder) as new:
        for number, path in enumerate(store.snapshot()):
            _take(store, number, Path(path), new / _name(number))
        _finish(new, len(store.links))


def write_checkpoint(folder: Path, images: Sequence[Image]) -> None:
    """Write the states of all shards of a store as a checkpoint; `folder` must be new."""
    with _New(folder) as new:
        for number, image in enumerate(images):
            write_image(new / _name(number), image)
        _finish(new, len(images))


def read_checkpoint(folder: Path) -> list[Image]:
    """The states of all shards; raises `StoreError` for what is no checkpoint, or is damaged."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
    except FileNotFoundError as error:
        raise StoreError(f"{folder} is no checkpoint: there is no {MANIFEST} in it") from error
    except ValueError as error:
        raise StoreError(f"{folder / MANIFEST} is damaged: {error}") from error
    if manifest.get("format") != FORMAT:
        raise StoreError(f"{folder} has the format {manifest.get('format')}, but this program reads {FORMAT}")
    images = []
    for number, digest in enumerate(manifest["digests"]):
        path = folder / _name(number)
        if not path.exists():
            raise StoreError(f"{path} is missing: take another checkpoint")
        image = read_image(path)
        if digest_of(path) != digest or (image.number, image.shards) != (number, len(manifest["digests"])):
            raise StoreError(f"{path} is not of this checkpoint: take another one")
        images.append(image)
    return images


def weights(folder: Path) -> dict[str, Array]:
    """The tensors of a checkpoint by name; raises `StoreError` as `read_checkpoint` does."""
    images = read_checkpoint(folder)
    found = stretches(images, [image.read_book() for image in images], {})
    return {
        name: np.concatenate([stretch.buffers[0] for stretch in of]).reshape(of[0].piece.shape)
        for name, of in found.items()
    }


def deal(checkpoint: Path, store: Path, shards: int) -> dict[str, Any]:
    """Let a store that has never run begin from a checkpoint, on `shards` shards; gives the policy it had, as JSON.

    Open it with this number of shards afterwards. Raises `StoreError` where the store has something in it already.
    """
    images = read_checkpoint(checkpoint)
    folder = Folder(store)
    for image in resharded(images, shards):
        place = folder.shard(image.number)
        if place.exists() and any(place.iterdir()):
            raise StoreError(f"{place} is not empty: load a checkpoint into a new store")
        place.mkdir(parents=True, exist_ok=True)
        write_image(place / "snapshot-000000001", image)
    return images[0].policy


def _take(store: ShardedStore, number: int, path: Path, target: Path) -> None:
    """Keep a snapshot under another name: a shard drops its old ones, and may have done so already."""
    for _ in range(_TRIES):
        try:
            try:
                os.link(path, target)
            except FileNotFoundError:
                raise
            except OSError:  # another file system
                shutil.copyfile(path, target)
        except FileNotFoundError:
            path = Path(store.links[number].snapshot())
        else:
            return
    raise StoreError(f"{path} cannot be seen from here: write the checkpoint on the machine of shard {number}")


def _finish(new: Path, shards: int) -> None:
    """Write the manifest, last."""
    digests = []
    for number in range(shards):
        read_image(new / _name(number))
        digests.append(digest_of(new / _name(number)))
    with (new / MANIFEST).open("w") as file:
        json.dump({"format": FORMAT, "digests": digests}, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    for number in range(shards):
        descriptor = os.open(new / _name(number), os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    sync_folder(new)


@final
class _New:
    """A folder that gets its name when it is complete, and is removed when it is not going to be."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._new = folder.with_name(f".new-{folder.name}")

    def __enter__(self) -> Path:
        if self._folder.exists():
            raise StoreError(f"{self._folder} exists: give the checkpoint a name of its own")
        shutil.rmtree(self._new, ignore_errors=True)
        self._new.mkdir(parents=True)
        return self._new

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is not None:
            with suppress(OSError):
                shutil.rmtree(self._new)
            return
        os.rename(self._new, self._folder)
        sync_folder(self._folder.parent)


def _name(number: int) -> str:
    return f"shard-{number}"
