"""Connections that came to nothing are told from those that made a call, and from those that still may."""

from __future__ import annotations

from parameter_server.listeners.handshakes import REMEMBERED, Handshakes


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_handshake_that_leads_to_no_call_in_time_has_failed_once() -> None:
    clock = Clock()
    handshakes = Handshakes(clock, patience=5)
    handshakes.begin()
    clock.now = 4.9
    assert handshakes.failed() == 0
    clock.now = 5.0
    assert handshakes.failed() == 1
    assert handshakes.failed() == 0


def test_only_the_first_call_of_a_connection_proves_a_handshake() -> None:
    clock = Clock()
    handshakes = Handshakes(clock, patience=5)
    for _ in range(3):
        handshakes.begin()
    for _ in range(3):
        handshakes.call("one")
    clock.now = 5
    assert handshakes.failed() == 2


def test_a_flood_of_connections_is_remembered_within_bounds() -> None:
    clock = Clock()
    handshakes = Handshakes(clock, patience=5)
    for number in range(2 * REMEMBERED):
        handshakes.begin()
        handshakes.call(str(number))
    for _ in range(2 * REMEMBERED):
        handshakes.begin()
    clock.now = 5
    assert handshakes.failed() == REMEMBERED
