"""State: what a shard keeps, numbers and book, and how an update changes both at once; it knows no time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np

from parameter_server.link import Part, Pulled, Push
from parameter_server.outcome import Outcome
from parameter_server.piece import ITEM_SIZES, Piece
from parameter_server.policy import Policy, Sync
from parameter_server.shards.admission import RefusedError, check_part, not_finite
from parameter_server.shards.book import INCARNATION
from parameter_server.shards.memory import Memory
from parameter_server.shards.recorder import Recorder
from parameter_server.shards.rounds import averaged
from parameter_server.shards.update import Stepping, Update
from parameter_server.store import FencedError, PushId, StoreError

if TYPE_CHECKING:
    from parameter_server.shards.memory import Buffers
    from parameter_server.store import Array


@final
@dataclass(frozen=True, slots=True)
class Counting:
    """A push, and the ledgers that it was not counted on before."""

    push: Push
    ledgers: Sequence[int]


@final
class State:
    """The pieces of a shard and its book; every method leaves both as they were, or changes both durably."""

    def __init__(self, memory: Memory, policy: Policy, recorder: Recorder | None, probe: Callable[[str], None]) -> None:
        self.memory = memory
        self.stepping = Stepping(memory, policy)
        self._policy = policy
        self._recorder = recorder
        self._probe = probe

    @property
    def table(self) -> int:
        """The version of the table of pieces."""
        return int(self.memory.book.header["table"][0])

    def epoch(self, epoch: int) -> None:
        """Take orders from the driver of this epoch; raises `FencedError` when there is one of a later epoch."""
        self.check_driver(epoch)
        header = self.memory.book.header
        if epoch > int(header["epoch"][0]):
            header["epoch"] = epoch
            self.memory.commit(())

    def check_driver(self, epoch: int) -> None:
        """Raise `FencedError` when there is a driver of a later epoch."""
        current = int(self.memory.book.header["epoch"][0])
        if epoch < current:
            raise FencedError(
                f"the driver of epoch {current} has taken over from that of epoch {epoch}: stop it", Outcome.FENCED
            )

    def create(self, pieces: Sequence[Piece], values: Sequence[Array]) -> tuple[str, ...]:
        """Add the pieces whose keys are new, all or none, and give these keys; raises `StoreError` for bad values."""
        new: dict[str, tuple[Piece, Buffers]] = {}
        for piece, array in zip(pieces, values, strict=True):
            if piece.key not in self.stepping.places and piece.key not in new:
                new[piece.key] = (piece, self._first(piece, array))
        if new:
            if self._recorder is not None:
                self._record_creation(self._recorder, list(new.values()))
            header = self.memory.book.header
            header["table"] += 1
            capacity = int(header["capacity"][0])
            try:
                self.memory.grow([piece for piece, _ in new.values()], [first for _, first in new.values()], capacity)
            except BaseException as error:
                self.memory.rollback()
                if self._recorder is not None and isinstance(error, Exception):
                    self._recorder.withdraw()
                raise
            self.stepping.refresh()
        return tuple(new)

    def pull(self, keys: Sequence[str], newer_than: int | None) -> Pulled:
        """Views of what is in front; raises `StoreError` for an unknown key."""
        book, parts = self.memory.book, {}
        for key in keys:
            place = self.stepping.places.get(key)
            if place is None:
                raise StoreError(f"there is no piece {key!r} here: create it first", Outcome.UNKNOWN_NAME)
            if newer_than is None or book.pieces["changed"][place] > newer_than:
                parts[key] = self.memory.front(place)[0]
        return Pulled(book.version, parts, self.table)

    def room(self, client: str) -> bool:
        """Make sure that the book has a row for a client in every ledger; whether one is new, and not durable yet."""
        book = self.memory.book
        missing = [ledger for ledger in book.ledgers if (ledger, client) not in book.rows]
        capacity = int(book.header["capacity"][0])
        if int(book.header["clients"][0]) + len(missing) > capacity:
            self.memory.grow((), (), 2 * capacity + len(missing))
            self.stepping.refresh()
        for ledger in missing:
            self.memory.book.client(ledger, client)
        return bool(missing)

    def enter(self, client: str, attempt: int) -> bool:
        """Let a client be known in this attempt, not durably yet; whether that is new."""
        changed = self.room(client)
        book = self.memory.book
        rows = [book.client(ledger, client) for ledger in book.ledgers]
        if any(int(row["attempt"]) != attempt for row in rows):
            if self._recorder is not None:
                self._record_attempt(self._recorder, client, attempt)
            for row in rows:
                row["attempt"] = attempt
            changed = True
        return changed

    def places(self, push: Push) -> tuple[int, ...]:
        """Where those of a push's parts belong that are known here."""
        places = self.stepping.places
        return tuple(places[part.key] for part in push.parts if part.key in places)

    def check(self, push: Push) -> None:
        """Raise when a part of a push is unknown here, or does not look like its piece."""
        for part in push.parts:
            place = self.stepping.places.get(part.key)
            if place is None:
                raise RefusedError(Outcome.UNKNOWN_NAME, f"there is no piece {part.key!r} here: create it first")
            check_part(self.memory.pieces[place], part)

    def uncounted(self, push_id: PushId, places: Sequence[int]) -> list[int]:
        """The ledgers of these pieces that a push was not counted on; raises when it was counted on all of them."""
        book = self.memory.book
        ledgers = (
            [0] if len(book.ledgers) == 1 or not places else sorted(set(book.pieces["ledger"][[*places]].tolist()))
        )
        versions = [book.counted(ledger, push_id.client, push_id.number) for ledger in ledgers]
        if None not in versions:
            raise RefusedError(
                Outcome.DUPLICATE, "it was counted before", max(version for version in versions if version is not None)
            )
        return [ledger for ledger, version in zip(ledgers, versions, strict=True) if version is None]

    def update(self, base: int) -> Update:
        """Begin an update by gradients that were computed at version `base`."""
        staleness = self.memory.book.version - base
        rate = 1 / staleness if self._policy.scaled_by_staleness and staleness > 1 else 1.0
        return Update(self.stepping, self._probe, rate)

    def apply(self, together: Sequence[Counting]) -> int:
        """Make one update of pushes that count together, and give its version; raises when that is impossible."""
        push = together[0].push
        parts, ledgers, scale = push.parts, together[0].ledgers, push.scale
        if isinstance(self._policy.mode, Sync):
            together = sorted(together, key=lambda one: one.push.id.client)
            parts, ledgers, scale = self._mean(together), self.memory.book.ledgers, 1.0
        update, of = self.update(push.base), self.memory.book.pieces["ledger"]
        for part in parts:
            place = self.stepping.places[part.key]
            if of[place] not in ledgers:
                continue
            if part.rows is None:
                fine = update.dense(place, 0, part.values.reshape(-1), scale)
            else:
                fine = update.rows(place, part.rows, part.values, scale)
            if not fine:
                raise not_finite(self.memory.pieces[place])
        return self.commit(update, together)

    def commit(self, update: Update, together: Sequence[Counting]) -> int:
        """Make an update count for these pushes, and give its version."""
        if self._recorder is not None:
            try:
                self._recorder.record(self.memory.book.version + 1, [one.push for one in together])
            except OSError as error:
                raise RefusedError(Outcome.BUSY, f"it could not be recorded ({error}): send the same again") from error
        return update.commit([(one.push.id, one.ledgers) for one in together])

    def replay(self, version: int, pushes: Sequence[Push]) -> bool:
        """Take an update as it was recorded; False where the numbers have it already.

        Raises `StoreError` when an update before it is missing.
        """
        if version <= self.memory.book.version:
            return False
        for push in pushes:
            self.room(push.id.client)
        book = self.memory.book
        while book.version // INCARNATION < version // INCARNATION:
            book.reincarnate()
        if version != book.version + 1:
            self.memory.rollback()
            raise StoreError(f"version {version} was recorded, but the numbers are those of version {book.version}")
        recorder, self._recorder = self._recorder, None
        try:
            self.apply([Counting(push, self.uncounted(push.id, self.places(push))) for push in pushes])
        finally:
            self._recorder = recorder
        return True

    def _mean(self, together: Sequence[Counting]) -> list[Part]:
        keys = dict.fromkeys(part.key for one in together for part in one.push.parts)
        places = [self.stepping.places[key] for key in keys]
        of = self.memory.book.pieces["ledger"]
        pieces = [(self.memory.pieces[place], int(of[place])) for place in places]
        with np.errstate(all="ignore"):
            return averaged([one.push for one in together], [one.ledgers for one in together], pieces)

    def _record_creation(self, recorder: Recorder, new: Sequence[tuple[Piece, Buffers]]) -> None:
        try:
            recorder.create([piece for piece, _ in new], [first[0] for _, first in new])
        except OSError as error:
            raise StoreError(f"it could not be recorded ({error}): create it again", Outcome.BUSY) from error

    def _record_attempt(self, recorder: Recorder, client: str, attempt: int) -> None:
        try:
            recorder.enter(client, attempt)
        except OSError as error:
            raise StoreError(f"it could not be recorded ({error}): say hello again", Outcome.BUSY) from error

    def _first(self, piece: Piece, values: Array) -> Buffers:
        """The first numbers of a piece, and of what its optimizer remembers."""
        if piece.dtype not in ITEM_SIZES or values.dtype.name != piece.dtype:
            raise StoreError(
                f"{piece.name} is {values.dtype}, but tensors are float32 or float64: convert it", Outcome.WRONG_DTYPE
            )
        if values.size != piece.size:
            raise StoreError(f"{piece.key} has {values.size} elements, not {piece.size}", Outcome.WRONG_SHAPE)
        if not np.isfinite(values).all():
            raise StoreError(f"{piece.name} is not finite: a tensor begins with numbers", Outcome.NOT_FINITE)
        optimizer = self._policy.group(piece.name).optimizer
        flat = values.reshape(-1)
        return (flat, *(np.full_like(flat, optimizer.start) for _ in optimizer.slots))
