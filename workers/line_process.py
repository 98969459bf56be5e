"""JSON lines over pipes between a driver and a process that it started: both ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import final

from workers.trial import Json

encode = json.JSONEncoder(separators=(",", ":")).encode


@final
class LineProcess:
    """The driver's end: a process that may be started again and again, which what it starts does not outlive."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self._arguments = arguments
        self._rest = b""
        self._log, path = tempfile.mkstemp(prefix="cellwright-")
        Path(path).unlink()  # the descriptor is enough
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, first: str, devices: str | None = None) -> int:
        """Start the process with its first line; gives the descriptor that it answers on."""
        self._process = subprocess.Popen(
            [sys.executable, "-P", *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=_environment(devices),
            start_new_session=True,  # a Ctrl-C is the driver's to interpret, and the group is killed as a whole
        )
        os.set_blocking(self.descriptor, False)
        self.say(first)
        return self.descriptor

    @property
    def running(self) -> bool:
        """Whether the process was started, and not stopped; it may have died."""
        return self._process is not None

    @property
    def pid(self) -> int | None:
        """The number of the process; None where none is running."""
        return None if self._process is None else self._process.pid

    @property
    def descriptor(self) -> int:
        """Where it answers."""
        assert self._process is not None
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def say(self, line: str) -> None:
        """Send a line; to a dead process it is lost."""
        assert self._process is not None
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it is dead, which `cause` says
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()

    def read(self) -> list[tuple[str, Json]]:
        """The messages that have arrived in full: what each is called, and what it says."""
        chunks = [self._rest]
        with suppress(BlockingIOError):
            while chunk := os.read(self.descriptor, 1 << 20):
                chunks.append(chunk)
        *lines, self._rest = b"".join(chunks).split(b"\n")
        return [next(iter(json.loads(line).items())) for line in lines]

    def cause(self) -> str | None:
        """Why the process ended, as people say it; None while it runs."""
        code = None if self._process is None else self._process.poll()
        if code is None:
            return None
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"

    def last_words(self) -> str:
        """The last line of what the process wrote to standard error."""
        size = os.lseek(self._log, 0, os.SEEK_END)
        lines = os.pread(self._log, 2000, max(0, size - 2000)).decode(errors="replace").strip().splitlines()
        return f": {lines[-1][:300]}" if lines else ""

    def hush(self) -> None:
        """Forget what the process has written to standard error."""
        os.ftruncate(self._log, 0)
        os.lseek(self._log, 0, os.SEEK_SET)  # which moves where the process writes, too

    def stop(self) -> None:
        """Kill the process and all it started; harmless when it is already dead."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            for stream in (self._process.stdin, self._process.stdout):
                with suppress(BrokenPipeError):
                    stream and stream.close()
        self._process, self._rest = None, b""

    def forget(self) -> None:
        """Stop, and let go of what it wrote."""
        self.stop()
        os.close(self._log)


@final
class LineDriver:
    """The process's end. Whatever else it prints goes to standard error; with its driver it ends, and all it started.

    Made once, before anything prints.
    """

    def __init__(self) -> None:
        nothing = os.open(os.devnull, os.O_RDONLY)
        source, self._sink = _private(0, nothing), _private(1, 2)
        self._lines: SimpleQueue[bytes] = SimpleQueue()
        self._writing = threading.Lock()
        threading.Thread(target=_listen, args=(source, self._lines), daemon=True).start()

    def hear(self) -> Json:
        """The next line; waits for it. None after `wake`."""
        return json.loads(self._lines.get())

    def wake(self) -> None:
        """Let who waits for a line go on without one. May be called by a signal's handler."""
        self._lines.put(b"null")

    def say(self, kind: str, body: str) -> None:
        """Send `body`, which is JSON already."""
        rest = memoryview(f'{{"{kind}":{body}}}\n'.encode())
        with self._writing:
            while rest:
                rest = rest[os.write(self._sink, rest) :]


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


def _environment(devices: str | None) -> Mapping[str, str]:
    """The driver's environment, in which this package is found first, whatever else is called `workers`."""
    here = str(Path(__file__).parents[1])
    path = os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])
    ours = {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
    return {**os.environ, **ours, **({} if devices is None else {"CUDA_VISIBLE_DEVICES": devices})}
