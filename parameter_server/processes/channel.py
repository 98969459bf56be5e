"""Channel: small JSON messages, one a line, between the processes of a store and its driver."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any, Final, TypeAlias, final

Message: TypeAlias = dict[str, Any]

LONGEST: Final = 2**20  # bytes of a message; who sends more is cut off


@final
class Channel:
    """One connected Unix socket; its ends are processes of one user, for the folder of the socket is closed to others.

    Not for several threads at once.
    """

    def __init__(self, connection: socket.socket, patience: float = 2.0) -> None:
        self.connection = connection
        self._rest = b""
        connection.settimeout(patience)

    @classmethod
    def to(cls, path: Path, patience: float = 2.0) -> Channel:
        """Connect; raises `OSError` where nobody listens."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(patience)
            connection.connect(str(path))
        except BaseException:
            connection.close()
            raise
        return cls(connection, patience)

    def fileno(self) -> int:
        return self.connection.fileno()

    def send(self, message: Message) -> bool:
        """Whether the other end is still there; a message may be lost all the same when it ends now."""
        try:
            self.connection.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            return False
        return True

    def receive(self) -> list[Message] | None:
        """The whole messages of what has come (waits until something has); None when the other end is gone."""
        try:
            got = self.connection.recv(65536)
        except TimeoutError:
            return []
        except OSError:
            return None
        if not got or len(self._rest) > LONGEST:
            return None
        *lines, self._rest = (self._rest + got).split(b"\n")
        try:
            messages = [json.loads(line) for line in lines]
        except ValueError:
            return None
        return messages if all(isinstance(message, dict) for message in messages) else None

    def close(self) -> None:
        self.connection.close()
