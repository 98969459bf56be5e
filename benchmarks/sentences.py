"""Sentences: text CNNs that were searched against the published one, on TREC and SST-2, without pretrained vectors.

    python benchmarks/sentences.py --data FOLDER         # eighteen searches: some 35 minutes of a core
    python benchmarks/sentences.py --data FOLDER --tiny  # whether it works: some minutes

Three ways to spend the same: the network of Kim (2014), CNN-rand, whose learning rate the surrogate tunes; random
search over text CNNs together with the learning rate; and the surrogate over the same. Searched networks have at most
as many parameters and multiply-adds as the published one. All have equally many trials of equally many epochs, Adam
in the place of Adadelta, the classifier's norms bound to 3, batches of 50, and one worker with one thread. The best of
each by the validation part (SST-2's own; a tenth of TREC's questions) is trained once more, with another seed, and
reads the test part once. SST-2 is learned from sentences only, not from their phrases, as Kim did besides.

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
from statistics import fmean
from typing import Any, final

if sys.path[0] == str(Path(__file__).resolve().parent):
    sys.path.append(sys.path.pop(0))  # a benchmark is called like the package parameter_server

from few_seeds import finished, share, verdict
from figure import setting as machine

from search_spaces.decisions import Candidate
from search_spaces.text.text_cnn import CNN_RAND, TextCnnSpace
from workers.errors import NotFoundError
from workers.plugins import Spec
from workers.workshop import task_of

SPACES = Path(__file__).resolve().parent / "spaces"
PUBLISHED = "published_cnn:PublishedCnn"
WAYS = {"published": (PUBLISHED, "surrogate"), "random": ("text_cnn", "random"), "surrogate": ("text_cnn", "surrogate")}
TITLES = {"published": "CNN-rand, tuned", "random": "text CNNs, random", "surrogate": "text CNNs, surrogate"}
REPORTED = {"TREC": 0.912, "SST2": 0.827}  # Kim (2014), table 2, CNN-rand


@final
@dataclass(frozen=True)
class Setting:
    """How large everything is; `examples` are those of an epoch, None for all."""

    table: str
    trials: int = 10
    epochs: tuple[int, int] = (4, 3)  # of TREC and SST-2: later the validation loss of CNN-rand rises
    examples: int | None = None

    def task(self, subset: str) -> dict[str, Any]:
        """The task on one of the two sets."""
        return {
            "name": "text_classification",
            "dataset": self.table,
            "subset": subset,
            "epochs": self.epochs[list(REPORTED).index(subset)],
            "learning_rate": {"range": [3e-4, 1e-2], "log": True},
            "max_norm": 3.0,
            "train_examples": self.examples,
            "device": "cpu",
        }

    def ceilings(self, subset: str) -> dict[str, int]:
        """What the published network costs."""
        options = {name: value for name, value in self.task(subset).items() if name != "name"}
        signature = task_of(Spec("text_classification", options)).signature
        found = TextCnnSpace().describe(Candidate(CNN_RAND), signature)
        return {"parameters": found.parameters, "multiply_adds": found.multiply_adds}

    def job(self, subset: str, way: str, seed: int, journal: Path) -> dict[str, Any]:
        """One search, its last training and its test."""
        space, strategy = WAYS[way]
        epochs = self.task(subset)["epochs"]
        return {
            "name": f"{subset.lower()}-{way}-{self.trials}-{epochs}-{self.examples or 'all'}-{seed}",
            "task": self.task(subset),
            "space": space,
            "strategy": {"name": strategy, "initial": 4} if strategy == "surrogate" else strategy,
            "constraints": {name: {"max": most} for name, most in self.ceilings(subset).items()},
            "budget": {"trials": self.trials},
            "baseline": 0,
            "pool": {"name": "local", "slots": 1, "cpus": 1},
            "final": {"top": 1},
            "journal": {"place": str(journal)},
            "artifacts": {"place": str(journal / "artifacts")},
            "seed": seed,
            "folder": str(SPACES),
        }


@final
@dataclass(frozen=True)
class Found:
    """What one search came to: accuracies of its best trial, of that one's last training, of the test part."""

    search: float
    validation: float
    test: float
    parameters: int
    seconds: float


def searched(job: Mapping[str, Any]) -> Found:
    """The search of `job`, made or read."""
    with finished(job, job["journal"]["place"]) as search:
        (best,), winner, test = search.best(), search.winner(), search.test()
        seconds = sum(one.device_seconds for one in search.trials())
    assert best.result is not None
    assert winner.result is not None
    count = round(winner.result.metrics["parameters"])
    before, after = best.result.metrics["accuracy"], winner.result.metrics["accuracy"]
    return Found(before, after, test["test_accuracy"], count, seconds)


def measure(setting: Setting, subset: str, seeds: Sequence[int], journal: Path) -> dict[str, list[Found]]:
    """What each way finds on one set, seed by seed, in turns."""
    found: dict[str, list[Found]] = {way: [] for way in WAYS}
    for seed in seeds:
        for way in WAYS:
            one = searched(setting.job(subset, way, seed, journal))
            found[way].append(one)
            print(
                f"{subset}  {TITLES[way]:<20} seed {seed}  search {one.search:.2%}  again {one.validation:.2%}  "
                f"test {one.test:.2%}  {one.parameters:,} parameters  {one.seconds:5.0f} s",
                flush=True,
            )
    return found


def say(subset: str, found: Mapping[str, Sequence[Found]], setting: Setting) -> None:
    """The figure, for people."""
    trials, epochs = setting.trials, setting.task(subset)["epochs"]
    print(f"\n**{subset}**: {trials} trials of {epochs} epochs, published CNN-rand: {REPORTED[subset]:.1%}\n")
    print("|  | parameters | best of the search | trained again | test | seconds of a search |")
    print("|---|---:|---:|---:|---:|---:|")
    for way, runs in found.items():
        cells = " | ".join(share([getattr(one, name) for one in runs]) for name in ("search", "validation", "test"))
        count, seconds = (fmean(getattr(one, name) for one in runs) for name in ("parameters", "seconds"))
        print(f"| {TITLES[way]} | {count:,.0f} | {cells} | {seconds:.0f} |")
    print("\nMean over seeds ± half of the 95 % interval (Student). On the test part, seed by seed:\n")
    for first, second in combinations(reversed(list(found)), 2):
        ours, theirs = ([one.test for one in found[way]] for way in (first, second))
        print(f"- {TITLES[first]} against {TITLES[second]}: {verdict(ours, theirs)}")


def table_in(data: Path) -> str:
    """The file of the sentence sets in `data`."""
    for path in (data / "sentence_cls" / "sentence_cls.csv.gz", data / "sentence_cls.csv.gz"):
        if path.is_file():
            return str(path.absolute())
    raise NotFoundError(f"there is no sentence_cls/sentence_cls.csv.gz in {data}: name the folder that has it")


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder with sentence_cls/sentence_cls.csv.gz")
    parser.add_argument("--sets", default=",".join(REPORTED), help="TREC, SST2 or both, comma-separated")
    parser.add_argument("--seeds", default="0,1,2", help="comma-separated")
    parser.add_argument("--journal", type=Path, help="where searches are kept; otherwise nowhere")
    parser.add_argument("--tiny", action="store_true", help="3 trials of one epoch with 300 sentences each")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    given = parser.parse_args()
    table = table_in(given.data)
    setting = Setting(table, trials=3, epochs=(1, 1), examples=300) if given.tiny else Setting(table)
    seeds = [int(seed) for seed in given.seeds.split(",")]
    print(machine(), flush=True)
    with tempfile.TemporaryDirectory(prefix="sentences-") as folder:
        journal = given.journal or Path(folder)
        found = {subset: measure(setting, subset, seeds, journal) for subset in given.sets.split(",")}
    for subset, ways in found.items():
        say(subset, ways, setting)
    if given.json:
        flat = {
            f"{subset.lower()}_{way}_test_accuracy": round(fmean(one.test for one in runs), 4)
            for subset, ways in found.items()
            for way, runs in ways.items()
        }
        runs = {subset: {way: [*map(asdict, one)] for way, one in ways.items()} for subset, ways in found.items()}
        print(json.dumps({**flat, "seeds": len(seeds), "runs": runs}))


if __name__ == "__main__":
    main()
