"""A TCP socket and no more: the same checks and steps in plain Python, over preallocated memory.

Chunks of 1 MB follow their xxh3. Whoever receives one checks it, looks whether it is finite, and steps into a second
buffer, which is in front when the last chunk was sound: then it answers with one byte.
"""

from __future__ import annotations

import socket
import struct
import subprocess
import sys

import numpy as np
import xxhash
from scipy.linalg import blas

from servers.contestant import Array, answering, environment, gradient, serve

CHUNK = 2**20
PASS = 2**18  # bytes that stay in a core's cache
RATE = 1e-3
HEAD = struct.Struct("<QQ")


def receive(connection: socket.socket, room: memoryview) -> bool:
    """Fill `room`; False at the end of the connection."""
    while room:
        got = connection.recv_into(room)
        if not got:
            return False
        room = room[got:]
    return True


def stepped(front: Array, back: Array, chunk: Array) -> None:
    """`back` = `front` - RATE * `chunk`, raising `ValueError` for what is not finite."""
    length = PASS // 4
    for start in range(0, len(chunk), length):
        part, out = chunk[start : start + length], back[start : start + length]
        total = blas.sdot(part, part)
        if total - total != 0 and not np.isfinite(part).all():
            raise ValueError("not finite")
        np.copyto(out, front[start : start + length])
        blas.saxpy(part, out, a=-RATE)


def listen(megabytes: int) -> None:
    """Take one connection, and serve it to its end."""
    front, back = gradient(megabytes), gradient(megabytes)
    room = bytearray(HEAD.size + CHUNK)
    whole, chunk = memoryview(room), np.frombuffer(room, np.float32, offset=HEAD.size)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        print(listening.getsockname()[1], flush=True)
        connection, _ = listening.accept()
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            for start in range(0, len(front), len(chunk)):
                if not receive(connection, whole):
                    return
                size, digest = HEAD.unpack_from(room)
                if size != CHUNK or xxhash.xxh3_64_intdigest(whole[HEAD.size :]) != digest:
                    raise ValueError("corrupted")
                stop = start + len(chunk)
                stepped(front[start:stop], back[start:stop], chunk)
            front, back = back, front
            connection.sendall(b"\1")


def main() -> None:
    """Serve `parameter_server.py`, or listen."""
    megabytes = int(sys.argv[1])
    if "listen" in sys.argv:
        listen(megabytes)
        return
    values = gradient(megabytes).data.cast("B")
    command = [sys.executable, "-m", "servers.raw_socket", str(megabytes), "listen"]
    with answering() as answers, subprocess.Popen(command, stdout=subprocess.PIPE, env=environment()) as server:
        assert server.stdout is not None
        with socket.create_connection(("127.0.0.1", int(server.stdout.readline()))) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

            def push() -> None:
                for start in range(0, len(values), CHUNK):
                    chunk = values[start : start + CHUNK]
                    connection.sendall(HEAD.pack(CHUNK, xxhash.xxh3_64_intdigest(chunk)))
                    connection.sendall(chunk)
                assert connection.recv(1) == b"\1"

            serve({"push": push}, megabytes, answers)


if __name__ == "__main__":
    main()
