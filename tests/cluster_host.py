"""One machine of a cluster in tests: runs a command, stays the parent of all that it left behind, and ends with it.

Says the command's exit status once it is known. All ends, at once and without a farewell, when standard input does: so
nothing outlives a test that is killed. Signals to the group of the tests, of Ctrl-C or a limit of time, do not end it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of prctl(2): orphans among the descendants become children of this process


def descendants(pid: int) -> list[int]:
    """All processes below `pid`, from the nearest; without zombies."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with suppress(OSError):
                state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
                if state != "Z":
                    children.setdefault(int(parent), []).append(int(folder.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found[1:]


def end_all(pid: int) -> None:
    """Kill all processes below `pid`; none of them sees another die before it is stopped itself."""
    while found := descendants(pid):
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for one in found:
                with suppress(OSError):
                    os.kill(one, number)
        time.sleep(0.01)  # the dead still have to be reaped, and a fork may have been under way


def _reap() -> None:
    while True:
        with suppress(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)
        time.sleep(0.05)


def main() -> None:
    """Run what the arguments say."""
    if ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0):
        sys.exit("this process cannot take orphans in")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)  # a function, for what is ignored would be so in what is run, too
    status = subprocess.run(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False).returncode
    threading.Thread(target=_reap, daemon=True).start()
    sys.stdout.write(f"{status}\n")
    sys.stdout.flush()
    sys.stdin.read()
    end_all(os.getpid())


if __name__ == "__main__":
    main()
