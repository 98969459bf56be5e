"""A parameter server as PyTorch's RPC makes one: the gradient is the argument of a call, which takes the step.

https://docs.pytorch.org/docs/stable/rpc.html. It checks nothing, and loses all when its process dies.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import torch
from torch.distributed import rpc

from servers.contestant import answering, environment, gradient, serve

RATE = 1e-3
_VALUES: list[torch.Tensor] = []


def step(given: torch.Tensor) -> None:
    """Take a step, in the process of the parameters."""
    _VALUES[0].add_(given, alpha=-RATE)


def keep(megabytes: int) -> None:
    """Keep the parameters until the worker is through."""
    torch.set_num_threads(1)
    _VALUES.append(torch.from_numpy(gradient(megabytes)))
    rpc.init_rpc("keeper", rank=0, world_size=2)  # type: ignore[no-untyped-call]
    rpc.shutdown()


def main() -> None:
    """Serve `parameter_server.py`."""
    from servers import torch_rpc  # the keeper calls functions by their modules, and knows no `__main__` of ours

    megabytes = int(sys.argv[1])
    torch.set_num_threads(1)
    with socket.create_server(("127.0.0.1", 0)) as free:
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(free.getsockname()[1]))
    keeping = f"from servers.torch_rpc import keep; keep({megabytes})"
    with answering() as answers, subprocess.Popen([sys.executable, "-c", keeping], env=environment()):
        rpc.init_rpc("worker", rank=1, world_size=2)  # type: ignore[no-untyped-call]
        values = torch.from_numpy(gradient(megabytes))
        serve({"push": lambda: rpc.rpc_sync("keeper", torch_rpc.step, args=(values,))}, megabytes, answers)
        rpc.shutdown()


if __name__ == "__main__":
    main()
