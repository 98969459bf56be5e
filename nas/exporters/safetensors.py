"""weights.safetensors: the trained weights and batch-norm statistics, under the names of the model's `state_dict`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import final

from nas.exporter import Exporter, Winner


@final
class SafetensorsExporter(Exporter):
    """Writes `weights.safetensors`."""

    def export(self, winner: Winner, folder: Path, missing: Mapping[str, str]) -> None:
        from safetensors.torch import save_file

        # Copies, since tensors that share memory (tied weights) cannot be written otherwise.
        tensors = {name: tensor.detach().cpu().clone() for name, tensor in winner.network.state_dict().items()}
        tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
        file = folder / "weights.safetensors"
        save_file(tensors, file, metadata={"format": "pt"})
        file.chmod(0o644)  # it is written for its owner alone
