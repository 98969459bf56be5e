"""Shard process: hosts shards of a store until it is told to end.

A supervisor forks it; by itself (`python -m parameter_server.processes.shard_process FOLDER`) it serves where something
else starts processes again. It imports no torch.
"""

from __future__ import annotations

import argparse
import faulthandler
import math
import os
import resource
import sys
import threading
import traceback
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Final

from parameter_server.policy_json import policy_from_json
from parameter_server.processes.channel import Channel
from parameter_server.processes.folder import Folder, process_socket, socket_folder, supervisor_socket
from parameter_server.processes.hosted import Hosted
from parameter_server.processes.place import Place
from parameter_server.processes.report import report
from parameter_server.processes.tie import Tie
from parameter_server.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DESCRIPTORS: Final = 2**16  # of a process at most: every client on this machine takes two


def prepare(folder: Folder) -> None:
    """Import what the shards of a store will need, so that no fork has to."""
    import parameter_server.listeners.same_machine
    from parameter_server.shards.kernels import warm

    warm()
    layout = folder.read_layout()
    if layout is not None and layout.network is not None:
        import parameter_server.listeners.network  # noqa: F401


def serve(place: Place) -> int:
    """Host the shards of a place; gives the exit status of the process."""
    faulthandler.enable()
    end_with_any_thread()
    have_descriptors()
    try:
        with ExitStack() as stack:
            policy = policy_from_json(place.layout.policy)
            hosted = [Hosted(place, number, policy) for number in place.shards]
            network = _listen(place, hosted, stack)
            tie = Tie(
                place,
                lambda epoch: max(one.epoch(epoch) for one in hosted),
                network,
                lambda: all(one.life.goes_on() for one in hosted),
            )
            write_from_time_to_time(place.interval, hosted, stack)
            reason = tie.hold()
        report(f"shards {place.shards} end: {reason}")
        for one in hosted:
            one.end()
        tie.close()  # so late, for a second signal must not end the writing
    except Exception as error:
        trouble = str(error) if isinstance(error, StoreError) else "".join(traceback.format_exception(error))
        report(f"shards {place.shards}: {trouble}")
        _complain(place, trouble.splitlines()[-1])
        return 1
    return 0


def end_with_any_thread() -> None:
    """Have an error that ends a thread end the process, which is replaced, and not only what that thread did."""

    def end(arguments: threading.ExceptHookArgs) -> None:
        error = arguments.exc_value or arguments.exc_type()
        report(f"a thread of the shard process failed: {''.join(traceback.format_exception(error))}")
        os._exit(1)

    threading.excepthook = end


def have_descriptors() -> None:
    """Let the process open as many files as it may, and not only the 1,024 that are usual."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # some systems allow less than they say
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _listen(place: Place, hosted: Sequence[Hosted], stack: ExitStack) -> Mapping[str, str]:
    """Listen as the store was asked to; gives the addresses for other machines, by shard."""
    from parameter_server.listeners.same_machine import SameMachineListener

    shards, by_number = [one.shard for one in hosted], {one.number: one for one in hosted}

    def snapshot(number: int) -> str:
        return by_number[number].snapshot()

    stack.callback(SameMachineListener(shards, process_socket(place.sockets, place.process), snapshot).close)
    asked = place.layout.network
    if asked is None:
        return {}
    from parameter_server.listeners.network import NetworkListener
    from parameter_server.security import Security, read_token

    files = [None if name is None else Path(name) for name in (asked.certificate, asked.key, asked.authority)]
    security = Security(files[0], files[1], files[2], token=read_token(Folder(place.folder).token))
    over_network = NetworkListener(shards, place.address or asked.address(place.process), security, snapshot)
    stack.callback(over_network.close)
    return {str(number): over_network.address for number in by_number}


def write_from_time_to_time(interval: float, hosted: Sequence[Hosted], stack: ExitStack) -> None:
    """Write snapshots of what has changed, every `interval` seconds, in a thread that ends with the stack."""
    ended = Event()

    def write() -> None:
        while not ended.wait(interval):
            for one in hosted:
                one.write_if_changed()

    thread = Thread(target=write, name="snapshots", daemon=True)
    thread.start()
    stack.callback(thread.join)
    stack.callback(ended.set)


def _complain(place: Place, trouble: str) -> None:
    """Let the supervisor tell the driver why there is no shard."""
    try:
        channel = Channel.to(supervisor_socket(place.sockets))
    except OSError:
        return
    channel.send({"trouble": trouble, "of": place.process})
    channel.close()


def main() -> int:
    """Host one process's shards of a store that was founded; without a supervisor it goes on until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m parameter_server.processes.shard_process", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--process", type=int, default=0, help="which of the store's processes this is, from 0")
    arguments = parser.parse_args()
    layout = Folder(arguments.folder).read_layout()
    if layout is None or not 0 <= arguments.process < layout.processes:
        there = "no store" if layout is None else f"a store in {layout.processes} processes"
        sys.stderr.write(f"there is {there} in {arguments.folder}: open_store founds one\n")
        return 2
    sockets = socket_folder(arguments.folder, Folder(arguments.folder).read_address())
    return serve(Place(arguments.folder, sockets, layout, arguments.process, math.inf))


if __name__ == "__main__":
    sys.exit(main())
