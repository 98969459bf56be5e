"""A proxy for TCP on this machine that can fall silent, as a network that loses everything does."""

from __future__ import annotations

import selectors
import socket
from contextlib import suppress
from threading import Event, Thread


class Proxy:
    """Forwards connections to an address; those that there are fall silent for good when `silence` is called."""

    def __init__(self, address: str) -> None:
        host, port = address.rsplit(":", 1)
        self.target = host, int(port)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.sockets: list[socket.socket] = []
        self.silent, self.over = Event(), Event()
        self.thread = Thread(target=self._run)
        self.thread.start()

    def silence(self) -> None:
        """Forward nothing more of the connections that there are; new ones work."""
        self.silent.set()
        while self.silent.is_set() and self.thread.is_alive():
            self.over.wait(0.01)

    def close(self) -> None:
        self.over.set()
        self.thread.join()
        self.selector.close()
        for each in (self.listener, *self.sockets):
            each.close()

    def _run(self) -> None:
        while not self.over.is_set():
            for key, _ in self.selector.select(0.02):
                if key.fileobj is self.listener:
                    self._accept()
                else:
                    self._forward(key.fileobj, key.data)  # type: ignore[arg-type]
            if self.silent.is_set():
                for one in self.sockets:
                    with suppress(KeyError, ValueError):
                        self.selector.unregister(one)
                self.silent.clear()

    def _accept(self) -> None:
        near, _ = self.listener.accept()
        far = socket.create_connection(self.target)
        self.sockets += (near, far)
        self.selector.register(near, selectors.EVENT_READ, far)
        self.selector.register(far, selectors.EVENT_READ, near)

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        try:
            data = source.recv(1 << 16)
            target.sendall(data)
        except OSError:
            data = b""
        if not data:
            for one in (source, target):
                with suppress(KeyError, ValueError, OSError):
                    self.selector.unregister(one)
                    one.shutdown(socket.SHUT_RDWR)
