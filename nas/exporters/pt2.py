"""model.pt2: the network as PyTorch's exported program, with a free batch size."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

from nas.exporter import Exporter, LeftOut, Winner
from workers.task import Deployed


@final
class Pt2Exporter(Exporter):
    """Writes one `NAME.pt2` per module that the task deploys; `torch.export.load(path).module()` reads it."""

    def export(self, winner: Winner, folder: Path, missing: Mapping[str, str]) -> None:
        import torch

        for name, deployed in winner.deployed.items():
            try:
                with warnings.catch_warnings():  # of torch about itself
                    warnings.simplefilter("ignore")
                    program = torch.export.export(
                        deployed.module.eval(), deployed.examples, dynamic_shapes=free_batch(deployed)
                    )
                    torch.export.save(program, folder / f"{name}.pt2")
            except Exception as error:
                raise LeftOut(f"{name} cannot be exported by torch.export: {first_line(error)}") from error


def free_batch(deployed: Deployed) -> tuple[Any, ...]:
    """The dynamic shapes that leave the first dimension of every input open.

    Where `forward` gathers inputs in a starred argument, torch wants their shapes gathered, too.
    """
    import torch

    batch = torch.export.Dim("batch", min=1)
    free: list[Any] = [{0: batch} for _ in deployed.examples]
    parameters = list(inspect.signature(deployed.module.forward).parameters.values())
    for place, one in enumerate(parameters):
        if one.kind is inspect.Parameter.VAR_POSITIONAL:
            return (*free[:place], tuple(free[place:]))
    return tuple(free)


def first_line(error: Exception) -> str:
    """The kind of an error and the first line of its message that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip(" #-=")]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
