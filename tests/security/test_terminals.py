"""What a job's code says is shown as text: a terminal is given nothing of it that it would obey."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.cli.output import complain, pairs, remark, table, write
from nas.history import History
from nas.live import Goal, View, view
from nas.printable import printable
from search_spaces.decisions import Candidate
from workers.objectives import Outcome
from workers.trial import Result, Trial

TITLE = "\x1b]0;root@host\x07"  # renames the window
HIDES = "\x1b[8mnothing to see\x1b[0m\r\x9b2Ky\u202efdp"  # C1 and the direction of writing included
HOSTILE = f"step 1\t{TITLE}{HIDES} ä"
OBEYED = "\x1b\x07\r\x9b\u202e"


@pytest.mark.parametrize(
    "way", [write, remark, complain, lambda text: table(["a"], [[text]]), lambda t: pairs({"a": t})]
)
def test_no_command_reaches_a_terminal(way: Callable[[str], None], capsys: pytest.CaptureFixture[str]) -> None:
    way(HOSTILE)
    shown = "".join(capsys.readouterr())
    assert not set(OBEYED) & set(shown)
    assert "\\x1b]0;root@host\\x07" in shown
    assert "ä" in shown


class Tty(io.StringIO):
    """A terminal, of which Rich believes that it has colours."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [io.StringIO(), Tty()])
def test_neither_does_it_while_a_search_runs(stream: io.StringIO) -> None:
    history = History()
    with view(Goal("digits"), stream=stream) as shown:
        assert isinstance(shown, View)
        for number in range(2):
            history.asked(Trial(number, Candidate({"x": number}), 1, 1), 0.0)
            history.issued(number, 1, 0.0)
        history.trials[1].curve.append((1, {f"accuracy{TITLE}": 1.0}))
        shown.turn(history, Machines())
        history.told(Result(0, 1, Outcome.FAILED, {}, 1, 2.0, error=HOSTILE), 1.0)
        shown.due = 0.0
        shown.turn(history, Machines())
    assert TITLE not in stream.getvalue()
    assert not {"\x07", "\x9b"} & set(stream.getvalue())
    assert "\\x1b]0;root@host\\x07" in stream.getvalue()


class Machines:
    """A pool with one slot."""

    free, busy = 0, 1


@given(st.text())
def test_only_commands_are_written_out(text: str) -> None:
    shown = printable(text)
    assert printable(shown) == shown
    assert all(one in shown for one in text if one.isprintable())
    assert all(one.isprintable() or one in "\t\n" or ord(one) > 159 for one in shown)
