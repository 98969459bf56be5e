"""compete: every searcher searches the same table with the same seeds, on all cores."""

from __future__ import annotations

import gc
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from multiprocessing import active_children, get_context, parent_process
from typing import Protocol, TypeAlias, final

from nas.bench.run import Contest, Told
from nas.bench.table import Table
from nas.bench.trace import Trace, trace
from workers.errors import UserError, in_words

Source: TypeAlias = Callable[[], Table]
Progress: TypeAlias = Callable[[str, int], None]
Work: TypeAlias = tuple[str, int]  # a searcher's name, a seed
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Searcher(Protocol):
    """A search of a table: a `Contestant`, or somebody else's method; it travels to other processes by pickle."""

    def __call__(self, table: Table, contest: Contest, seed: int) -> Sequence[Told]:
        """The trials in the order in which they were told; equal seeds give equal searches."""


def compete(
    source: Source,
    searchers: Mapping[str, Searcher],
    contest: Contest,
    seeds: Sequence[int],
    processes: int | None = None,
    progress: Progress | None = None,
) -> dict[str, tuple[Trace, ...]]:
    """A trace per searcher and seed, in their order; the same for any number of processes (None: one per core).

    `source` gives the table, in every process once; these start afresh, so a script guards its main part.
    `progress` hears a searcher's name and how many of its searches are over.
    """
    field = _Field(source, searchers, contest)
    work = [(name, seed) for seed in seeds for name in searchers]
    wanted = min(len(work), cores() if processes is None else processes)
    found: dict[Work, Trace] = {}
    counts = dict.fromkeys(searchers, 0)
    for (name, seed), one in _here(field, work) if wanted <= 1 else _spread(field, work, wanted):
        found[name, seed] = one
        counts[name] += 1
        if progress is not None:
            progress(name, counts[name])
    return {name: tuple([found[name, seed] for seed in seeds]) for name in searchers}


def read(source: Source) -> Table:
    """The table, read in half of the time: nobody looks for garbage among hundreds of thousands of new objects."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        return source()
    finally:
        if collecting:
            gc.enable()


def cores() -> int:
    """How many processes can work at once here."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@final
@dataclass(frozen=True)
class _Field:
    """What every process is given once."""

    source: Source
    searchers: Mapping[str, Searcher]
    contest: Contest

    @cached_property
    def table(self) -> Table:
        return read(self.source)

    def run(self, name: str, seed: int) -> Trace:
        table = self.table
        try:
            told = self.searchers[name](table, self.contest, seed)
        except UserError as error:
            raise UserError(f"{name}, seed {seed}: {error}") from error
        except Exception as error:
            raise UserError(f"{name}, seed {seed}: {in_words(error)}") from error
        return trace(table, told, self.contest.trials, seed)


def _here(field: _Field, work: Sequence[Work]) -> Iterator[tuple[Work, Trace]]:
    _settle()
    for name, seed in work:
        yield (name, seed), field.run(name, seed)


def _spread(field: _Field, work: Sequence[Work], processes: int) -> Iterator[tuple[Work, Trace]]:
    """In the order in which they end."""
    others = set(active_children())
    pool = ProcessPoolExecutor(processes, get_context("spawn"), _enter, (field,))
    try:
        with _uninterrupted():
            running = {pool.submit(_run, *one): one for one in work}
        for future in as_completed(running):
            yield running.pop(future), future.result()
    except BrokenProcessPool:
        raise UserError("a process of the benchmark was ended from outside: was there too little memory?") from None
    except BaseException:
        for process in set(active_children()) - others:
            process.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C is no business of processes that are started here, not even while they import."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


_entered: list[_Field] = []  # in a process that was started by `_spread`


def _enter(field: _Field) -> None:
    """Begin a process of `_spread`; the table is read with the first search, so that its errors come home."""
    threading.Thread(target=_follow, daemon=True).start()
    _settle()
    _entered.append(field)


def _follow() -> None:
    """End this process with the one that started it, however that ends."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _run(name: str, seed: int) -> Trace:
    return _entered[0].run(name, seed)


def _settle() -> None:
    """One thread for each process, where its libraries are not loaded yet: sums come out the same on any machine."""
    for name in THREADS:
        os.environ.setdefault(name, "1")
