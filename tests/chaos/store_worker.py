"""A worker of a store under chaos: writes down what it will push and what it was told, and starts over from that.

`python store_worker.py FOLDER NAME ATTEMPT`: pushes until FOLDER/stop exists.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from parameter_server.opened import connect
from parameter_server.store import PushId

if TYPE_CHECKING:
    from parameter_server.store import Array

SIZE = 1000
TENSORS = ("a", "b")


def gradients(name: str, number: int) -> dict[str, Array]:
    """What push `number` of a client is, in every attempt."""
    generator = np.random.default_rng([*name.encode(), number])
    return {tensor: generator.normal(size=SIZE).astype(np.float32) for tensor in TENSORS}


def entries(ledger: Path) -> list[dict[str, Any]]:
    """What a worker wrote; its last line may be torn."""
    lines = ledger.read_text().split("\n") if ledger.exists() else []
    return [json.loads(line) for line in lines[:-1] if line.endswith("}")]


def main(folder: Path, name: str, attempt: int) -> None:
    ledger = folder / f"{name}.ledger"
    told = entries(ledger)
    sent = max((entry["number"] for entry in told), default=-1)
    answered = {entry["number"] for entry in told if "version" in entry}
    number = sent if sent >= 0 and sent not in answered else sent + 1
    store = connect(folder / "store")
    with ledger.open("a", buffering=1) as written:
        if told:
            written.write("\n" if not ledger.read_text().endswith("\n") else "")
        while not (folder / "stop").exists() or number == sent:
            base = store.pull().version
            written.write(json.dumps({"number": number}) + "\n")
            pushed = store.push(gradients(name, number), base, PushId(name, number, attempt))
            outcomes = [str(outcome) for outcome in pushed.outcomes]
            written.write(json.dumps({"number": number, "version": pushed.version, "outcomes": outcomes}) + "\n")
            number += 1
    store.leave(name, attempt)
    store.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
