"""Published tables by name: those that a user installs, and those in a folder of data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

from nas.bench.columns import Columns
from nas.bench.file_table import FileTable
from nas.bench.installed import installed
from nas.bench.table import Table
from workers.errors import UserError

CELLS = ("nasbench201/cifar10", "nasbench201/cifar100", "nasbench201/imagenet")
HYPERPARAMETERS = (
    *(f"hpolib/{name}" for name in ("naval_propulsion", "parkinsons_telemonitoring", "protein_structure")),
    "hpolib/slice_localization",
    *(f"hpobench/{name}" for name in ("australian", "blood_transfusion", "car", "credit_g", "kc1", "phoneme")),
    *(f"hpobench/{name}" for name in ("segment", "vehicle")),
)
EDGES = tuple(f"op{i}" for i in range(6))


def _cells(short: str) -> Columns:
    """NAS-Bench-201: searched by the validation accuracy of seed 0, reported by the test accuracy."""
    return Columns(EDGES, f"{short}_val200_s0", f"{short}_test200", cost=f"{short}_train_seconds200")


FILES = {
    "nb201/c10": ("nb201/nb201.csv.gz", _cells("c10")),
    "nb201/c100": ("nb201/nb201.csv.gz", _cells("c100")),
    "nb201/in16": ("nb201/nb201.csv.gz", _cells("in16")),
    "nb201/rungs": (
        "nb201/nb201.csv.gz",
        replace(_cells("c10"), fidelities={12: "c10_val12"}, epochs=200),  # a separate training: it pays in full
    ),
    "nb201/latency": ("nb201/nb201.csv.gz", Columns(EDGES, "c10_latency_s", "c10_latency_s", minimize=True)),
    "ecnas/4V": (
        "ecnas/ecnas.csv.gz",
        Columns(
            ("edges", "ops"),
            search="val_acc",
            report="test_acc",
            cost="train_seconds",
            where={"space": ("4V",)},
            fidelity_column="epochs",
            repeat_column="repeat",
        ),
    ),
}


@final
@dataclass(frozen=True)
class Source:
    """Calling it gives the table of this name; `data` is the folder of the tables in files."""

    name: str
    data: Path | None = None

    def __call__(self) -> Table:
        if self.name not in FILES:
            return installed(self.name)()
        if self.data is None:
            raise UserError(f"{self.name} is a table in a file: name the folder of the data with --data")
        file, columns = FILES[self.name]
        return replace(FileTable(self.data / file, columns)(), name=self.name)
