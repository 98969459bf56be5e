"""Deadline: work that may hang, waited for no longer than some seconds."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread

from workers.errors import UserError


def within(seconds: float, work: Callable[[], None], what: str) -> None:
    """Do `work` in a thread of its own; raise what it raises, or UserError where it has not ended in time.

    What is late is left behind and ends with the process; `what` names it for people.
    """
    raised: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            raised.append(error)

    thread = Thread(target=run, name=what, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise UserError(f"{what} took longer than {seconds:g} s and is no longer waited for")
    if raised:
        raise raised[0]
