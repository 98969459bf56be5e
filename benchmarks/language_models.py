"""Language models: a searched recurrent cell against LSTM on tiny Shakespeare, in bits per character.

    python benchmarks/language_models.py --data FOLDER         # nine searches: some 40 minutes of a core
    python benchmarks/language_models.py --data FOLDER --tiny  # whether it works: two minutes

Three ways to spend the same: torch's LSTM, whose learning rate and dropout the surrogate tunes; random search over
graph cells (8 nodes, as in ENAS and DARTS) together with these two settings; and the surrogate over the same space. All
have the same frame (one layer, tied embeddings: `spaces/framed_cells.py`), equally many parameters within 2 %, trials,
characters to learn from, and one worker with one thread. The three best of each are trained once more, for longer, and
the best of these by the validation part reads the test part once. It is small on purpose: 86,000 parameters; each of
15 trials reads the first 300,000 characters once, the last trainings three times. So it says what learns most in a
short time, not which cell is best in the end.

`--journal FOLDER` keeps the searches: one that is there is not made again, one that was interrupted goes on.
"""

from __future__ import annotations

import argparse
import json
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
    del sys.path[0]  # where a benchmark is called like the package parameter_server

from few_seeds import finished, interval, verdict

from search_spaces.space import Signature
from workers.plugins import Spec
from workers.workshop import space_of, task_of

SPACES = Path(__file__).resolve().parent / "spaces"
WAYS = {"lstm": ("lstm", "surrogate"), "random": ("graph", "random"), "surrogate": ("graph", "surrogate")}
TITLES = {"lstm": "LSTM, tuned", "random": "cells, random", "surrogate": "cells, surrogate"}
ALIKE = 0.02  # how far numbers of parameters may lie apart


@final
@dataclass(frozen=True)
class Setting:
    """How large everything is: `characters` are those of one epoch, `longer` the epochs of the last training."""

    text: str
    characters: int = 300_000
    trials: int = 15
    longer: int = 3
    hidden: int = 64

    @property
    def task(self) -> dict[str, Any]:
        """The task of all ways."""
        return {
            "name": "language_model",
            "dataset": "file",
            "root": self.text,
            "train_tokens": self.characters,
            "steps": 32,
            "batch_size": 32,
            "learning_rate": {"range": [1e-3, 3e-2], "log": True},
            "epochs": 1,
            "sample_tokens": 0,
            "device": "cpu",
        }

    @property
    def signature(self) -> Signature:
        options = {name: value for name, value in self.task.items() if name != "name"}
        return task_of(Spec("language_model", options)).signature


@final
@dataclass(frozen=True)
class Found:
    """What one search came to, in bits per character: its best trial, that one's longer training, the test part."""

    search: float
    validation: float
    test: float
    parameters: int
    seconds: float


def sized(unit: str, hidden: int) -> dict[str, Any]:
    """The space of one unit, as a job has it."""
    return {"name": "framed_cells:FramedCells", "unit": unit, "hidden": hidden}


def parameters(unit: str, hidden: int, signature: Signature) -> int:
    """Those of any network of `unit`: its cells all have equally many."""
    if str(SPACES) not in sys.path:
        sys.path.append(str(SPACES))
    space = space_of(Spec("framed_cells:FramedCells", {"unit": unit, "hidden": hidden}))
    return space.describe(space.decisions.sample(Random(0)), signature).parameters


def alike(hidden: int, signature: Signature) -> int:
    """The hidden size at which LSTM has as many parameters as graph cells of `hidden`."""
    wanted = parameters("graph", hidden, signature)
    best = min(range(hidden, 3 * hidden), key=lambda size: abs(parameters("lstm", size, signature) - wanted))
    apart = parameters("lstm", best, signature) / wanted - 1
    if abs(apart) > ALIKE:
        raise SystemExit(f"LSTM of {best} units has {apart:+.1%} parameters, but {ALIKE:.0%} is allowed")
    return best


def searched(way: str, seed: int, setting: Setting, journal: Path) -> Found:
    """One search with its last training and its test; read from the journal where it is there."""
    unit, strategy = WAYS[way]
    hidden = setting.hidden if unit == "graph" else alike(setting.hidden, setting.signature)
    job = {
        "name": f"{way}-{setting.trials}-{setting.characters}-{setting.longer}-{hidden}-{seed}",
        "task": setting.task,
        "space": sized(unit, hidden),
        "strategy": strategy,
        "budget": {"trials": setting.trials},
        "baseline": 0,
        "pool": {"name": "local", "slots": 1, "cpus": 1},
        "final": {"top": 3, "epochs": setting.longer},
        "journal": {"place": str(journal)},
        "artifacts": {"place": str(journal / "artifacts")},
        "seed": seed,
        "folder": str(SPACES),
    }
    with finished(job, str(journal)) as search:
        (best,), winner, test = search.best(), search.winner(), search.test()
        seconds = sum(one.device_seconds for one in search.trials())
    assert best.result is not None
    assert winner.result is not None
    before, after = (result.metrics["bits_per_character"] for result in (best.result, winner.result))
    count = round(winner.result.metrics["parameters"])
    return Found(before, after, test["test_bits_per_character"], count, seconds)


def measure(setting: Setting, seeds: Sequence[int], journal: Path) -> dict[str, list[Found]]:
    """What each way finds, seed by seed, in turns."""
    found: dict[str, list[Found]] = {way: [] for way in WAYS}
    for seed in seeds:
        for way in WAYS:
            one = searched(way, seed, setting, journal)
            found[way].append(one)
            print(
                f"{TITLES[way]:<17} seed {seed}  search {one.search:.4f}  longer {one.validation:.4f}  "
                f"test {one.test:.4f}  {one.parameters:,} parameters  {one.seconds:5.0f} s",
                flush=True,
            )
    return found


def say(found: Mapping[str, Sequence[Found]]) -> None:
    """The figure, for people."""
    print("\n|  | parameters | best of the search | trained for longer | test | seconds of a search |")
    print("|---|---:|---:|---:|---:|---:|")
    for way, runs in found.items():
        columns = [interval([getattr(one, name) for one in runs]) for name in ("search", "validation", "test")]
        cells = " | ".join(f"{mean:.3f} ± {half:.3f}" for mean, half in columns)
        seconds = fmean(one.seconds for one in runs)
        print(f"| {TITLES[way]} | {runs[0].parameters:,} | {cells} | {seconds:.0f} |")
    print(
        "\nBits per character, mean over seeds ± half of the 95 % interval (Student). On the test part, seed by seed:\n"
    )
    for first, second in combinations(reversed(list(found)), 2):
        ours, theirs = ([one.test for one in found[way]] for way in (first, second))
        print(f"- {TITLES[first]} against {TITLES[second]}: {verdict(ours, theirs, written='.4f', less=True)}")


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder with tinyshakespeare/input.txt.gz")
    parser.add_argument("--seeds", default="0,1,2", help="comma-separated")
    parser.add_argument("--journal", type=Path, help="where searches are kept; otherwise nowhere")
    parser.add_argument("--tiny", action="store_true", help="3 trials of 20,000 characters each")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    given = parser.parse_args()
    text = str(given.data / "tinyshakespeare" / "input.txt.gz")
    setting = Setting(text, characters=20_000, trials=3, longer=2, hidden=32) if given.tiny else Setting(text)
    seeds = [int(seed) for seed in given.seeds.split(",")]
    with tempfile.TemporaryDirectory(prefix="language-models-") as folder:
        found = measure(setting, seeds, given.journal or Path(folder))
    say(found)
    if given.json:
        flat = {f"{way}_test_bits": round(fmean(one.test for one in runs), 4) for way, runs in found.items()}
        print(json.dumps({**flat, "seeds": len(seeds), "runs": {way: [*map(asdict, r)] for way, r in found.items()}}))


if __name__ == "__main__":
    main()
