"""ShardedStore: a store whose tensors are spread over shards, each reached by a link."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from threading import BoundedSemaphore, Lock
from time import monotonic, sleep
from typing import TYPE_CHECKING, Final, final

from parameter_server.clients.creation import Creation, Ground
from parameter_server.clients.crew import Crew
from parameter_server.clients.pulling import Pulling
from parameter_server.clients.pushing import Errand, Pushing
from parameter_server.clients.table import Table
from parameter_server.link import Link
from parameter_server.outcome import Outcome
from parameter_server.policy import Async, Policy
from parameter_server.store import Pull, Pushed, PushId, Store, StoreError, UnreachableError, Version

if TYPE_CHECKING:
    from parameter_server.statistics import Statistics
    from parameter_server.store import Gradients, Tensors

PERMITS: Final = 64  # pulls and asynchronous pushes of one store object under way; 2,000 calls at once choke a server
_LOOKS: Final = 50  # at a table while a tensor's pieces are on their way, 2 ms apart at first


@final
class ShardedStore(Store):
    """Tensors over one link per shard, in order; `patience` is how long a call may take, in seconds.

    Each shard is consistent by itself, and counts a push once; there is nobody above them. In a synchronous store with
    backup workers, rounds of different shards may hold different workers' gradients. `threads`: whether shards are
    asked at once, those of one
    process in turn, which pays where they are other processes. A creator that does not end within `takeover` seconds is
    taken to be dead, and another one takes its place. `closing` is called once the links are closed.
    """

    def __init__(
        self,
        links: Sequence[Link],
        *,
        patience: float = 120.0,
        takeover: float = 10.0,
        threads: bool = True,
        closing: Callable[[], None] | None = None,
    ) -> None:
        if not links:
            raise StoreError("a store has at least one shard, but there is no link to any")
        self.links = tuple(links)
        self.patience = patience
        self._closing = closing
        self._crew = Crew(self.links, threads)
        self._every = range(len(links))
        self._ground = Ground(self.links, self._crew, self._fetch, takeover, patience)
        self._permits = BoundedSemaphore(PERMITS)
        self._lock = Lock()
        self._table: Table | None = None
        self._seen = [0] * len(links)  # the highest version of each shard that it has told
        self._joined: set[tuple[str, int]] = set()

    @property
    def policy(self) -> Policy:
        """What the shards do with gradients."""
        return self._known().policy

    def create(self, tensors: Tensors) -> tuple[str, ...]:
        return Creation(self._ground, tensors).run()

    def pull(
        self, names: Iterable[str] | None = None, newer_than: Version | None = None, into: Tensors | None = None
    ) -> Pull:
        if newer_than is not None:
            self._check_version(newer_than, "newer_than is")
        wanted = None if names is None else list(dict.fromkeys(names))
        with self._permit():
            while True:
                table = self._table_with(wanted or ())
                entries = [table.entries[name] for name in (table.entries if wanted is None else wanted)]
                pulling = Pulling(self.links, self._crew, entries, into)
                shards = (
                    self._every if wanted is None else sorted({shard for one in entries for shard, _ in one.places})
                )
                versions, tensors = pulling.run(shards, newer_than)
                if wanted is not None or pulling.table in (-1, table.versions[0]):
                    break
                self._fetch()  # there are more tensors by now
        for name, tensor in tensors.items():
            if into is None or name not in into:
                tensor.flags.writeable = False
        for shard, version in versions.items():
            self._seen[shard] = max(self._seen[shard], version)
        elsewhere = newer_than or (0,) * len(self.links)
        return Pull(tuple(versions.get(shard, elsewhere[shard]) for shard in self._every), tensors)

    def push(self, gradients: Gradients, base: Version, push_id: PushId) -> Pushed:
        table = self._table_with(gradients)
        self._check_base(base)
        if (push_id.client, push_id.attempt) not in self._joined:
            self.join(push_id.client, push_id.attempt)
        errand = Errand(gradients, base, push_id, monotonic() + self.patience)
        pushing = Pushing(self.links, self._crew, self._fetch, errand)
        if isinstance(table.policy.mode, Async):
            with self._permit():
                answers = pushing.run(table)
        else:  # those who wait for each other must all be let in
            answers = pushing.run(table)
        version = list(base)
        for shard, answer in answers.items():
            version[shard] = answer.version
            self._seen[shard] = max(self._seen[shard], answer.version)
        return Pushed(tuple(version), tuple(answers[shard].outcome for shard in sorted(answers)))

    def join(self, client: str, attempt: int = 0) -> int:
        welcomes = self._crew.each(self._every, lambda shard: self.links[shard].hello(client, attempt))
        self._joined.add((client, attempt))
        return max(welcome.number for welcome in welcomes)

    def beat(self, client: str, attempt: int = 0) -> None:
        self._crew.each(self._every, lambda shard: self.links[shard].beat(client, attempt))

    def leave(self, client: str, attempt: int = 0) -> None:
        self._joined.discard((client, attempt))
        self._crew.each(self._every, lambda shard: self.links[shard].leave(client, attempt))

    def snapshot(self) -> tuple[str, ...]:
        """Have every shard write its state now; the paths of the files, each on its shard's machine."""
        return tuple(self._crew.each(self._every, lambda shard: self.links[shard].snapshot()))

    def statistics(self) -> tuple[Statistics, ...]:
        """What each shard has counted."""
        return tuple(self._crew.each(self._every, lambda shard: self.links[shard].statistics()))

    def close(self) -> None:
        self._crew.close()
        for link in self.links:
            link.close()
        if self._closing is not None:
            self._closing()

    def _fetch(self) -> Table:
        """The table as it is now; waits while a tensor that is complete on shard 0 is not seen so elsewhere yet."""
        nap = 0.002
        for _ in range(_LOOKS):
            welcomes = self._crew.each(self._every, lambda shard: self.links[shard].hello("", 0))
            table = Table.of(welcomes)
            if not table.broken:
                break
            sleep(nap)
            nap = min(2 * nap, 0.05)
        else:
            raise StoreError(f"pieces of {table.broken[0]} are missing, so a shard has lost them: load a checkpoint")
        with self._lock:
            self._table = table  # lower versions too: a shard may have come back from an older state
            for shard, welcome in enumerate(welcomes):
                self._seen[shard] = max(self._seen[shard], welcome.version)
        return table

    def _known(self) -> Table:
        return self._table or self._fetch()

    def _table_with(self, names: Iterable[str]) -> Table:
        """A table that has these names; raises `StoreError` when there are none such."""
        table = self._known()
        if table.unknown(names) is not None:
            table = self._fetch()
            if (name := table.unknown(names)) is not None:
                raise StoreError(table.missing(name), Outcome.UNKNOWN_NAME)
        return table

    def _check_version(self, version: Version, what: str) -> None:
        if len(version) != len(self.links):
            raise StoreError(
                f"{what} a version of {len(version)} shards, but the store has {len(self.links)}: "
                "pull, and use the version that it gives"
            )

    def _check_base(self, base: Version) -> None:
        """Raise `StoreError` for a version that never was, before a shard has taken the push."""
        self._check_version(base, "the gradients come from")
        if len(base) > 1 and any(map(int.__gt__, base, self._seen)):
            self._fetch()
        if len(base) > 1 and not all(0 <= one <= seen for one, seen in zip(base, self._seen, strict=True)):
            raise StoreError(
                f"the gradients come from version {base}, but the shards are at {tuple(self._seen)}: "
                "pull first, and push with the version that it gave",
                Outcome.FROM_THE_FUTURE,
            )

    @contextmanager
    def _permit(self) -> Iterator[None]:
        """Wait while too much of this object is under way."""
        if not self._permits.acquire(timeout=self.patience):
            raise UnreachableError(
                f"{PERMITS} calls have been under way for {self.patience:g} s: the shards are too slow", Outcome.BUSY
            )
        try:
            yield
        finally:
            self._permits.release()
