"""A driver that kills itself: `python chaos_driver.py FOLDER MOMENT COUNT` goes on with the search in FOLDER.

It is the product's own loop, log and pool, struck at the COUNT-th `before-commit`, `after-commit`, `before-tell`,
`before-submit` or `after-submit` (or the first after it with a trial in flight); `never` runs to the end.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, final

import chaos_trial

from nas.driver import drive
from nas.home import open_log
from nas.plan import Plan
from workers.pool import Pool
from workers.trial import Result


@final
class Strike:
    """SIGKILL to this process at the chosen moment."""

    def __init__(self, moment: str, count: int, in_flight: Callable[[], bool]) -> None:
        self.moment = moment
        self.count = count
        self.in_flight = in_flight

    def __call__(self, moment: str) -> None:
        if moment == self.moment:
            self.count -= 1
            if self.count <= 0 and self.in_flight():
                os.kill(os.getpid(), signal.SIGKILL)


def strike_around(thing: Any, method: str, before: Callable[[], None], after: Callable[[Any], None]) -> None:
    """Let `thing.method` be preceded and followed by a blow."""
    plain = getattr(thing, method)

    def struck(*arguments: Any) -> Any:
        before()
        answer = plain(*arguments)
        after(answer)
        return answer

    setattr(thing, method, struck)


def main() -> None:
    folder, moment, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    log = open_log(str(folder))
    ledger = folder / "ledger"
    alone = log.header("chaos").job["pool"]["slots"] == 1  # nothing runs while the driver acts: what is issued counts
    strike = Strike(moment, count, lambda: alone or bool(chaos_trial.in_flight(ledger)))

    def told(events: Any) -> None:
        for event in events:
            if isinstance(event, Result):
                strike("before-tell")

    def armed(pool: Pool) -> None:
        strike_around(pool, "submit", lambda: strike("before-submit"), lambda _: strike("after-submit"))
        strike_around(pool, "wait", lambda: None, told)

    strike_around(log, "append", lambda: strike("before-commit"), lambda _: strike("after-commit"))
    strike_around(Plan, "pool", lambda: None, armed)
    ending = drive("chaos", log)
    log.close()
    sys.exit(0 if ending.state == "finished" else 1)


if __name__ == "__main__":
    main()
