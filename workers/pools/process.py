"""A worker process: a setup and then attempts come in as JSON lines, progress and results go out.

Run as `python -m workers.pools.process` by `workers.pools.local`.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from workers import draining
from workers.errors import UserError, in_words
from workers.line_process import LineDriver, encode
from workers.objectives import Outcome
from workers.pool import Progress
from workers.setup import Setup
from workers.spoken import kept
from workers.trial import Attempt, Json, Result
from workers.workshop import Workshop

Report = Callable[[Progress], None]


def open_workshop(setup: Setup) -> Workshop:
    """The workshop of this process, its data loaded, among the user's own modules and with its share of the cores."""
    for library in ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "VECLIB_MAXIMUM"):
        os.environ[f"{library}_NUM_THREADS"] = str(setup.threads)  # read when torch and numpy are first imported
    if setup.folder and Path(setup.folder).is_dir():
        folder = str(Path(setup.folder).absolute())  # "." where the user's files have travelled with the job
        os.chdir(folder)
        if folder not in sys.path:
            sys.path.insert(0, folder)
    workshop = Workshop(setup)
    workshop.prepare()  # missing data is no fault of the first child, nor is the time that loading takes
    workshop.memory.check()
    return workshop


def answer(workshop: Workshop, attempt: Attempt, report: Report) -> str:
    """The result of one attempt as JSON; whatever the child raises, `SystemExit` too, is a failure of the child."""
    with kept(workshop.artifacts, workshop.setup.search, attempt):
        try:
            return encode(workshop.run(attempt, report).json())
        except BaseException as failure:
            error = in_words(failure)
            return encode(Result(attempt.trial.id, attempt.number, Outcome.FAILED, error=error).json())


def main() -> None:
    """Serve attempts until the driver goes away; after SIGTERM, to the end of the epoch."""
    driver = LineDriver()

    def drain(number: int, frame: FrameType | None) -> None:
        draining.begin()
        driver.wake()

    signal.signal(signal.SIGTERM, drain)
    os.register_at_fork(after_in_child=lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL))

    def report(progress: Progress) -> None:
        body: list[Json] = [progress.trial_id, progress.attempt, progress.epoch, dict(progress.metrics)]
        driver.say("progress", encode(body))

    if (told := driver.hear()) is None:
        driver.say("leaving", "null")
        return
    try:
        workshop = open_workshop(Setup.from_json(told))
    except Exception as failure:
        message = str(failure) if isinstance(failure, UserError) else in_words(failure)
        driver.say("broken", encode(message))
        return
    driver.say("ready", str(os.getpid()))
    while (told := driver.hear()) is not None:
        result = answer(workshop, Attempt.from_json(told), report)
        if leaving := workshop.leaving:
            driver.say("leaving", "null")  # before the result, so that nothing more is sent here
        driver.say("result", result)
        if leaving:
            return
    driver.say("leaving", "null")


if __name__ == "__main__":
    main()
