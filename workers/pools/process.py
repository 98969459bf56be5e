"""A worker process: a setup and then attempts come in as JSON lines, progress and results go out.

Run as `python -m workers.pools.process` by `workers.pools.local`. What a trial prints goes to standard error; the
protocol has descriptors of its own. The process ends, with all it started, when its driver closes the pipe or dies.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue

from workers.errors import UserError, in_words
from workers.objectives import Outcome
from workers.pool import Progress
from workers.setup import Setup
from workers.trial import Attempt, Json, Result
from workers.workshop import Workshop

Report = Callable[[Progress], None]
encode = json.JSONEncoder(separators=(",", ":")).encode


def open_workshop(setup: Setup) -> Workshop:
    """The workshop of this process, its data loaded, among the user's own modules and with its share of the cores."""
    for library in ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "VECLIB_MAXIMUM"):
        os.environ[f"{library}_NUM_THREADS"] = str(setup.threads)  # read when torch and numpy are first imported
    if setup.folder and Path(setup.folder).is_dir():
        os.chdir(setup.folder)
        if setup.folder not in sys.path:
            sys.path.insert(0, setup.folder)
    workshop = Workshop(setup)
    workshop.prepare()  # missing data is no fault of the first child, nor is the time that loading takes
    return workshop


def answer(workshop: Workshop, attempt: Attempt, report: Report) -> str:
    """The result of one attempt as JSON; whatever the child raises, `SystemExit` too, is a failure of the child."""
    try:
        return encode(workshop.run(attempt, report).json())
    except BaseException as failure:
        error = in_words(failure)
        return encode(Result(attempt.trial.id, attempt.number, Outcome.FAILED, error=error).json())


def _private(descriptor: int, instead: int) -> int:
    """A copy of `descriptor` that nobody else knows, the well-known number now being `instead`."""
    copy = os.dup(descriptor)
    os.dup2(instead, descriptor)
    return copy


def _listen(source: int, lines: SimpleQueue[bytes]) -> None:
    """Hand over line after line; at the end of the pipe the driver is gone, so end everything of this process group."""
    with os.fdopen(source, "rb") as stream:
        for line in stream:
            lines.put(line)
    os.killpg(0, signal.SIGKILL)


def main() -> None:
    """Serve attempts until the driver goes away."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    source, sink = _private(0, nothing), _private(1, 2)
    lines: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_listen, args=(source, lines), daemon=True).start()
    writing = threading.Lock()

    def say(kind: str, body: str) -> None:
        rest = memoryview(f'{{"{kind}":{body}}}\n'.encode())
        with writing:
            while rest:
                rest = rest[os.write(sink, rest) :]

    def report(progress: Progress) -> None:
        body: list[Json] = [progress.trial_id, progress.attempt, progress.epoch, dict(progress.metrics)]
        say("progress", encode(body))

    try:
        workshop = open_workshop(Setup.from_json(json.loads(lines.get())))
    except Exception as failure:
        message = str(failure) if isinstance(failure, UserError) else in_words(failure)
        say("broken", encode(message))
        return
    say("ready", str(os.getpid()))
    while True:
        say("result", answer(workshop, Attempt.from_json(json.loads(lines.get())), report))


if __name__ == "__main__":
    main()
