"""model.onnx: the network for onnxruntime and others, with a free batch size."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import final

from nas.exporter import Exporter, LeftOut, Winner
from nas.exporters.pt2 import first_line, free_batch


@final
class OnnxExporter(Exporter):
    """Writes one `NAME.onnx` per module that the task deploys."""

    def export(self, winner: Winner, folder: Path, missing: Mapping[str, str]) -> None:
        import torch

        for name, deployed in winner.deployed.items():
            try:
                with _silence():
                    program = torch.onnx.export(
                        deployed.module.eval(),
                        deployed.examples,
                        dynamo=True,
                        verbose=False,
                        dynamic_shapes=free_batch(deployed),
                        input_names=list(deployed.inputs),
                        output_names=list(deployed.outputs),
                    )
                    if program is not None:
                        program.save(folder / f"{name}.onnx", external_data=False)
            except Exception as error:
                raise LeftOut(f"{name} cannot be converted to ONNX: {first_line(error)}") from error


@contextmanager
def _silence() -> Iterator[None]:
    """Keep back what torch, onnxscript and torchvision say of each other: nothing that a user can mend."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
