"""Convergence: a small network on CIFAR-10, trained by four workers in each mode and by one process alone.

    python benchmarks/convergence.py --data FOLDER             # three seeds: twelve trainings
    python benchmarks/convergence.py --modes async --seeds 0   # one of them; without --data: digits, which take seconds

All see the same number of examples, and are judged on the test set after the last. Workers are processes, as
`nas train` starts them, with one thread each, and so has the process alone. Each mode has the recipe that suits it:
gradients that are under way at once act like momentum, so that asynchronous workers have none of their own, and take
smaller batches, so that fewer examples are under way. Ends with 1 where a mean is more than 1 % below that of the
process alone, or below 65 %.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any, final

if sys.path[0] == str(Path(__file__).resolve().parent):
    del sys.path[0]  # where a benchmark is called like the package parameter_server

from nas.architecture import FILE, Architecture
from nas.train import Wanted, train
from search_spaces.decisions import Candidate
from workers.errors import NotFoundError
from workers.plugins import Spec
from workers.trial import Trial
from workers.workshop import space_of, task_of

WORKERS = 4
ALONE = "alone"
MODES = (ALONE, "async", "sync", "bounded")
ALLOWED, LEAST = 0.01, 0.65
FREE = {"momentum": 0.0, "batch_size": 16, "learning_rate": 0.15}  # where nobody waits for all: 73.3 %, with 32 71.2 %


@final
@dataclass(frozen=True)
class Setting:
    """What is learned, by which network, for how long; `recipes` has what a mode does otherwise."""

    filters: Sequence[int]  # of layers; 0 is a pool
    task: Mapping[str, Any]
    epochs: int
    recipes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def space(self) -> Spec:
        pools = [place for place, filters in enumerate(self.filters, 1) if not filters]
        choices = {"depths": [len(self.filters)], "kernels": [3], "filters": sorted({*self.filters} - {0})}
        return Spec("layers", {**choices, "skip_connections": False, "pooling": pools})

    @property
    def candidate(self) -> Candidate:
        values: dict[str, int] = {"depth": len(self.filters)}
        for place, filters in enumerate(self.filters, 1):
            if filters:
                values |= {f"layer{place}_{side}": 3 for side in ("height", "width")}
                values[f"layer{place}_filters"] = filters
        return space_of(self.space).decisions.candidate(values)

    def options(self, mode: str) -> dict[str, Any]:
        return {**self.task, **self.recipes.get(mode, {})}


CIFAR = Setting(
    filters=(16, 0, 32, 0, 64, 0, 128),
    task={"learning_rate": 0.1, "gradient_clipping": 0.0, "crop": 0, "cutout": 0, "validation": 0.02,
          "train_examples": 20000, "device": "cpu"},
    epochs=8,
    recipes={"async": FREE, "bounded": FREE},
)  # fmt: skip
DIGITS = Setting(
    filters=(16, 0, 32),
    task={"dataset": "digits", "learning_rate": 0.1, "gradient_clipping": 0.0, "batch_size": 64, "device": "cpu"},
    epochs=8,
    recipes={mode: {"momentum": 0.0, "batch_size": 16, "learning_rate": 0.3} for mode in ("async", "bounded")},
)


def cifar(data: Path) -> Setting:
    """The setting for CIFAR-10 in `data`: an `cifar10.npz`, or what torchvision has downloaded."""
    for file in (data / "cifar10.npz", data / "cifar10" / "cifar10.npz"):
        if file.is_file():
            return replace(CIFAR, task={**CIFAR.task, "dataset": str(file), "flip": True})
    if (data / "cifar-10-batches-py").is_dir():
        return replace(CIFAR, task={**CIFAR.task, "dataset": "cifar10", "root": str(data), "download": False})
    raise NotFoundError(f"there is neither a cifar10.npz nor a cifar-10-batches-py in {data}: name its folder")


def alone(setting: Setting, seed: int) -> float:
    """The test accuracy of one process."""
    import torch

    from workers.lineage import network_of
    from workers.seeds import derived

    torch.set_num_threads(1)
    space = space_of(setting.space)
    task = task_of(Spec("image_classification", setting.options(ALONE)))
    torch.manual_seed(derived(seed, "trial"))
    model = network_of(space, task, setting.candidate)
    trial = Trial(0, setting.candidate, setting.epochs, setting.epochs, seed=seed, split="test")
    *_, last = task.train(model, trial, None)
    return float(last.metrics["test_accuracy"])


def together(setting: Setting, mode: str, seed: int, folder: Path) -> float:
    """The test accuracy of `nas train` with four workers."""
    task = Spec("image_classification", setting.options(mode))
    signature = task_of(task).signature
    known: dict[str, Any] = {"space": setting.space, "seed": seed, "training": {"epochs": setting.epochs}}
    record = Architecture("convergence", 0, setting.candidate, signature, task, **known).json()
    source = folder / f"{mode}-{seed}"
    source.mkdir()
    (source / FILE).write_text(json.dumps(record))
    winner = train(source, folder / f"{mode}-{seed}-trained", Wanted(WORKERS, mode), lambda tally: None)
    return float(winner.metrics["test_accuracy"])


def measure(setting: Setting, modes: Sequence[str], seeds: Sequence[int]) -> dict[str, list[float]]:
    """The accuracies of each mode, seed by seed, in turns."""
    found: dict[str, list[float]] = {mode: [] for mode in modes}
    for seed in seeds:
        for mode in modes:
            begun = time.perf_counter()
            with tempfile.TemporaryDirectory(prefix="convergence-") as folder:
                reached = alone(setting, seed) if mode == ALONE else together(setting, mode, seed, Path(folder))
            found[mode].append(reached)
            print(f"{mode:<8} seed {seed}  {reached:.2%}  {time.perf_counter() - begun:5.0f} s", flush=True)
    return found


def short(found: Mapping[str, Sequence[float]], allowed: float, least: float) -> list[str]:
    """The modes whose mean is too far below that of the process alone, or too low."""
    means = {mode: fmean(reached) for mode, reached in found.items()}
    floor = max(means.get(ALONE, 0.0) - allowed, least)
    return [mode for mode, mean in means.items() if mean < (least if mode == ALONE else floor)]


def main() -> int:
    """Run, print, and say by the exit code whether all modes come near enough."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="the folder with CIFAR-10; otherwise digits are learned")
    parser.add_argument("--modes", default=",".join(MODES), help="some of them, comma-separated")
    parser.add_argument("--seeds", default="0,1,2", help="comma-separated")
    parser.add_argument("--json", action="store_true", help="end with one flat JSON object")
    given = parser.parse_args()
    modes, seeds = given.modes.split(","), [int(seed) for seed in given.seeds.split(",")]
    found = measure(cifar(given.data) if given.data else DIGITS, modes, seeds)
    failed = short(found, ALLOWED, LEAST)
    for mode, reached in found.items():
        apart = f"{fmean(reached) - fmean(found[ALONE]):+.2%}" if ALONE in found else ""
        print(f"{mode:<8} mean {fmean(reached):.2%}  {apart}  {'TOO LOW' if mode in failed else ''}".rstrip())
    if given.json:
        flat = {f"{mode}_accuracy": round(fmean(reached), 4) for mode, reached in found.items()}
        print(json.dumps({**flat, "seeds": len(seeds), "failed": len(failed)}))
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
