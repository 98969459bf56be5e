"""Signals, as a process gets them."""

from __future__ import annotations

import signal
import threading

from nas.interrupt import Interrupt


class Stopped:
    """Remembers how it was stopped."""

    def __init__(self) -> None:
        self.calls: list[bool] = []

    def stop(self, now: bool = False) -> None:
        self.calls.append(now)


def test_ctrl_c_finishes_what_runs_and_a_second_one_stops_now() -> None:
    before = signal.getsignal(signal.SIGINT)
    stopped = Stopped()
    with Interrupt(stopped) as interrupt:
        assert interrupt.reason == ""
        signal.raise_signal(signal.SIGINT)
        assert (stopped.calls, interrupt.reason) == ([False], "Ctrl-C")
        signal.raise_signal(signal.SIGINT)
        assert (stopped.calls, interrupt.reason) == ([False, True], "Ctrl-C twice")
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler, "a third one is Python's"
    assert signal.getsignal(signal.SIGINT) is before


def test_sigterm_is_ctrl_c_with_a_deadline() -> None:
    now = [100.0]
    stopped = Stopped()
    with Interrupt(stopped, grace=5.0, clock=lambda: now[0]) as interrupt:
        interrupt.tick()
        signal.raise_signal(signal.SIGTERM)
        interrupt.tick()
        assert stopped.calls == [False]
        now[0] = 104.0
        signal.raise_signal(signal.SIGTERM)  # does not move the deadline
        interrupt.tick()
        assert True not in stopped.calls
        now[0] = 105.0
        interrupt.tick()
        assert stopped.calls[-1] is True
        assert interrupt.reason == "SIGTERM"


def test_another_thread_leaves_signals_alone() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def enter() -> None:
        with Interrupt(Stopped()):
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [before]
