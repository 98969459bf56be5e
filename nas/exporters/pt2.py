"""model.pt2: the network as PyTorch's exported program, with a free batch size."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

from nas.exporter import Exporter, LeftOut, Winner


@final
class Pt2Exporter(Exporter):
    """Writes one `NAME.pt2` per module that the task deploys; `torch.export.load(path).module()` reads it."""

    def export(self, winner: Winner, folder: Path, missing: Mapping[str, str]) -> None:
        import torch

        for name, (module, examples) in winner.deployed.items():
            try:
                with warnings.catch_warnings():  # of torch about itself
                    warnings.simplefilter("ignore")
                    program = torch.export.export(module.eval(), examples, dynamic_shapes=free_batch(examples))
                    torch.export.save(program, folder / f"{name}.pt2")
            except Exception as error:
                raise LeftOut(f"{name} cannot be exported by torch.export: {first_line(error)}") from error


def free_batch(examples: tuple[Any, ...]) -> tuple[Any, ...]:
    """The dynamic shapes that leave the first dimension of every tensor open."""
    import torch

    batch = torch.export.Dim("batch", min=1)
    return tuple({0: batch} if isinstance(one, torch.Tensor) and one.dim() else None for one in examples)


def first_line(error: Exception) -> str:
    """The kind of an error and the first line of its message that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip(" #-=")]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
