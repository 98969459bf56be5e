"""Generating images: DCGAN against searched pairs of generator and discriminator on Fashion-MNIST, by FID.

    python benchmarks/generation.py --data FOLDER --pictures FOLDER   # nine searches: some 20 minutes of a core
    python benchmarks/generation.py --data FOLDER --tiny              # whether it works: some three minutes

Three ways to spend the same: DCGAN as published but narrowed to 16 filters, whose learning rates the surrogate tunes;
random search over the space `gan` (plain networks, or AutoGAN's cells; normalisation; three objectives) together with
these rates; and the surrogate over the same. All have equally many trials and epochs, at most DCGAN's parameters, and
one worker with one thread; cells take about twice as long as plain networks, which is not made up for. The best of each
by the validation part is trained once more, for longer, and reads the test part once.

FID is that of 1,000 images by 64 features of a classifier of the same data (91 % on its validation part), so that it
compares with nothing but what stands here: training images against test images, and noise against them. It is small on
purpose: 2,000 training images, 8 trials of 3 epochs, the last training of 9. So it says what learns most in a short
time.

`--journal FOLDER` keeps the searches: one that is there is not made again, one that was interrupted goes on.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any, final

if sys.path[0] == str(Path(__file__).resolve().parent):
    sys.path.append(sys.path.pop(0))  # a benchmark is called like the package parameter_server

from few_seeds import finished, interval

from search_spaces.gan.published_gans import DCGAN
from workers.errors import NotFoundError
from workers.plugins import Spec
from workers.workshop import space_of, task_of

SURROGATE = {"name": "surrogate", "initial": 5}
WAYS: Mapping[str, Any] = {"dcgan": SURROGATE, "random": "random", "surrogate": SURROGATE}
TITLES = {"dcgan": "DCGAN, tuned", "random": "pairs, random", "surrogate": "pairs, surrogate"}
STAGES = 2  # 28 pixels are 7 times 2 times 2
SHOWN = ("samples", "neighbours", "interpolation", "arithmetic", "modes")


@final
@dataclass(frozen=True)
class Setting:
    """How large everything is; `longer` are the epochs of the last training."""

    data: str
    images: int = 2000
    trials: int = 8
    epochs: int = 3
    longer: int = 9
    width: int = 16

    def task(self, way: str) -> dict[str, Any]:
        """The task of one way; DCGAN keeps the objective it was published with."""
        objectives = ["non_saturating"] if way == "dcgan" else ["non_saturating", "hinge", "least_squares"]
        return {
            "name": "image_generation",
            "dataset": self.data,
            "train_examples": self.images,
            "epochs": self.epochs,
            "batch_size": 32,
            "objective": {"choice": objectives},
            "learning_rate": {"range": [2e-4, 4e-3], "log": True},
            "discriminator_rate": {"choice": [0.25, 0.5, 1.0, 2.0]},
            "device": "cpu",
        }

    def space(self, way: str) -> dict[str, Any]:
        """The space of one way; that of DCGAN has one network."""
        if way != "dcgan":
            return {"name": "gan", "stages": [STAGES], "widths": [8, 16, 32], "further_cells": 1}
        options = {"widths": [self.width], "stages": [STAGES]}
        for name in ("generator", "discriminator", "discriminator_width", "discriminator_norm"):
            options[f"{name}s"] = [DCGAN[name]]  # type: ignore[list-item]
        return {"name": "gan", **options}

    @property
    def ceiling(self) -> int:
        """DCGAN's parameters, which no pair may exceed."""
        space, task = self.space("dcgan"), self.task("dcgan")
        built, learned = space_of(Spec(space.pop("name"), space)), task_of(Spec(task.pop("name"), task))
        candidate = (built.decisions | learned.decisions).sample(Random(0))  # they all have one network
        return built.describe(candidate, learned.signature).parameters


@final
@dataclass(frozen=True)
class Found:
    """What one search came to, in FID: its best trial, that one's longer training, the test part with its scale."""

    search: float
    validation: float
    test: float
    real: float
    noise: float
    recall: float
    parameters: int
    seconds: float


def archive(data: Path, folder: Path) -> str:
    """Fashion-MNIST as an .npz file, from the four files of its distribution."""
    import numpy as np

    file, arrays = folder / "fashion_mnist.npz", {}
    if file.is_file():
        return str(file)
    for part, prefix in (("train", "train"), ("test", "t10k")):
        for letter, kind, begin in (("x", "images-idx3", 16), ("y", "labels-idx1", 8)):
            name = f"{prefix}-{kind}-ubyte.gz"
            found = [place / name for place in (data, data / "fashion_mnist", data / "FashionMNIST" / "raw")]
            there = next((one for one in found if one.is_file()), None)
            if there is None:
                raise NotFoundError(f"there is no {name} in {data}: name the folder of Fashion-MNIST's four files")
            arrays[f"{letter}_{part}"] = np.frombuffer(gzip.decompress(there.read_bytes()), np.uint8, offset=begin)
    pixels = {name: values.reshape(-1, 28, 28) for name, values in arrays.items() if name[0] == "x"}
    labels = {name: values.astype(np.int64) for name, values in arrays.items() if name[0] == "y"}
    np.savez(file, **pixels, **labels)  # type: ignore[arg-type]
    return str(file)


def searched(way: str, seed: int, setting: Setting, journal: Path, pictures: Path | None) -> Found:
    """One search with its last training and its test; read from the journal where it is there."""
    job = {
        "name": f"{way}-{setting.images}-{setting.trials}-{setting.epochs}-{setting.longer}-{seed}",
        "task": setting.task(way),
        "space": setting.space(way),
        "strategy": WAYS[way],
        "constraints": {"parameters": {"max": setting.ceiling}},
        "budget": {"trials": setting.trials},
        "baseline": 0,
        "pool": {"name": "local", "slots": 1, "cpus": 1},
        "final": {"top": 1, "epochs": setting.longer},
        "journal": {"place": str(journal)},
        "artifacts": {"place": str(journal / "artifacts")},
        "seed": seed,
    }
    with finished(job, str(journal)) as search:
        (best,), winner, test = search.best(), search.winner(), search.test()
        trials = search.trials()
        seconds = sum(one.device_seconds for one in trials)
        if pictures is not None:
            show(journal / "artifacts" / search.id / str(trials[-1].trial.id), pictures, f"{way}-{seed}")
    assert best.result is not None
    assert winner.result is not None
    before, after = (result.metrics["fid"] for result in (best.result, winner.result))
    fid, real, noise, recall = (test[f"test_{name}"] for name in ("fid", "fid_real", "fid_noise", "recall"))
    return Found(before, after, fid, real, noise, recall, round(winner.result.metrics["parameters"]), seconds)


def show(trial: Path, pictures: Path, name: str) -> None:
    """Copy what the trial that read the test part left for people to look at."""
    pictures.mkdir(parents=True, exist_ok=True)
    for kind in SHOWN:
        for file in sorted(trial.rglob(f"exhibit-*-{kind}.*")):
            if file.suffix != ".sha256":
                shutil.copy(file, pictures / f"{name}-{kind}{file.suffix}")


def measure(setting: Setting, seeds: Sequence[int], journal: Path, pictures: Path | None) -> dict[str, list[Found]]:
    """What each way finds, seed by seed, in turns."""
    found: dict[str, list[Found]] = {way: [] for way in WAYS}
    for seed in seeds:
        for way in WAYS:
            one = searched(way, seed, setting, journal, pictures)
            found[way].append(one)
            print(
                f"{TITLES[way]:<16} seed {seed}  search {one.search:.2f}  longer {one.validation:.2f}  "
                f"test {one.test:.2f}  {one.parameters:,} parameters  {one.seconds:5.0f} s",
                flush=True,
            )
    return found


def verdict(first: Sequence[float], second: Sequence[float]) -> str:
    """How `first` compares with `second`, seed by seed; a lower FID is better."""
    mean, half = interval([a - b for a, b in zip(first, second, strict=True)])
    if math.isnan(half):
        return f"{mean:+.2f}, of one seed"
    if not abs(mean) > half:
        return f"no difference: {mean:+.2f} ± {half:.2f}"
    return f"{'lower' if mean < 0 else 'higher'} FID: {mean:+.2f} ± {half:.2f}"


def say(found: Mapping[str, Sequence[Found]], ceiling: int) -> None:
    """The figure, for people."""
    print(f"\nAt most {ceiling:,} parameters, both networks together.\n")
    print("|  | parameters | best of the search | trained for longer | test | recall | seconds of a search |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for way, runs in found.items():
        columns = [interval([getattr(one, name) for one in runs]) for name in ("search", "validation", "test")]
        cells = " | ".join(f"{mean:.2f}" if math.isnan(half) else f"{mean:.2f} ± {half:.2f}" for mean, half in columns)
        parameters, recall, seconds = (
            fmean(getattr(one, n) for one in runs) for n in ("parameters", "recall", "seconds")
        )
        print(f"| {TITLES[way]} | {parameters:,.0f} | {cells} | {recall:.1%} | {seconds:.0f} |")
    scale = next(iter(found.values()))[0]
    print(f"\nOf training images against the test part {scale.real:.2f}, of noise {scale.noise:.1f}.")
    print("FID, mean over seeds ± half of the 95 % interval (Student). On the test part, seed by seed:\n")
    for first, second in combinations(reversed(list(found)), 2):
        tested = [[one.test for one in found[way]] for way in (first, second)]
        print(f"- {TITLES[first]} against {TITLES[second]}: {verdict(*tested)}")


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder with Fashion-MNIST's four files")
    parser.add_argument("--seeds", default="0,1,2", help="comma-separated")
    parser.add_argument("--pictures", type=Path, help="where samples, neighbours, ... of each winner are put")
    parser.add_argument("--journal", type=Path, help="where searches are kept; otherwise nowhere")
    parser.add_argument("--tiny", action="store_true", help="2 trials of an epoch of 300 images each")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    given = parser.parse_args()
    seeds = [int(seed) for seed in given.seeds.split(",")]
    with tempfile.TemporaryDirectory(prefix="generation-") as folder:
        journal = given.journal or Path(folder)
        journal.mkdir(parents=True, exist_ok=True)
        data = archive(given.data, journal)
        setting = Setting(data, images=300, trials=2, epochs=1, longer=2) if given.tiny else Setting(data)
        found = measure(setting, seeds, journal, given.pictures)
    say(found, setting.ceiling)
    if given.json:
        flat = {f"{way}_test_fid": round(fmean(one.test for one in runs), 4) for way, runs in found.items()}
        print(json.dumps({**flat, "seeds": len(seeds), "runs": {way: [*map(asdict, r)] for way, r in found.items()}}))


if __name__ == "__main__":
    main()
