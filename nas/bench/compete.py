"""compete: every searcher searches the same table with the same seeds, on all cores."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cached_property
from multiprocessing import get_context
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
        gc.disable()  # looking for garbage among hundreds of thousands of new objects takes as long as making them
        try:
            return self.source()
        finally:
            gc.enable()

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
    pool = ProcessPoolExecutor(processes, get_context("spawn"), _enter, (field,))
    try:
        running = {pool.submit(_run, *one): one for one in work}
        for future in as_completed(running):
            yield running.pop(future), future.result()
    except BrokenProcessPool:
        raise UserError("a process of the benchmark was ended from outside: was there too little memory?") from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_entered: list[_Field] = []  # in a process that was started by `_spread`


def _enter(field: _Field) -> None:
    """Begin a process of `_spread`; the table is read with the first search, so that its errors come home."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the parent has the last word, and none of its children a traceback
    _settle()
    _entered.append(field)


def _run(name: str, seed: int) -> Trace:
    return _entered[0].run(name, seed)


def _settle() -> None:
    """One thread for each process, where its libraries are not loaded yet: sums come out the same on any machine."""
    for name in THREADS:
        os.environ.setdefault(name, "1")
