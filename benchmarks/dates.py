"""Dates: encoder-decoder networks that normalise dates as people write them, and what searching them gives.

    python benchmarks/dates.py           # nine searches: some 20 minutes of a core
    python benchmarks/dates.py --tiny    # whether it works: a minute

"3 May 1979" is to become "1979-05-03"; days of training, validation and test differ. Three ways to spend the same: the
classic LSTM encoder-decoder without attention (Sutskever et al. 2014), whose sizes, dropout and learning rate the
surrogate tunes; random search over the whole space `seq2seq` with these; and the surrogate over the same. All have the
same limit of parameters, trials, epochs and pairs, and one worker with one thread. The best of each by the validation
part is trained once more, for longer, and reads the test part once. Ends with 1 where the mean of the surrogate is
below 99 %.

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
    sys.path.append(sys.path.pop(0))  # behind the package parameter_server, as which a benchmark is called

from few_seeds import finished, interval, verdict

LEAST = 0.99
CLASSIC = {"unit": ["lstm"], "bidirectional": [False], "attention": ["none"], "pointer": [False]}
WAYS: dict[str, tuple[dict[str, Any], str]] = {
    "lstm": (CLASSIC, "surrogate"),
    "random": ({}, "random"),
    "surrogate": ({}, "surrogate"),
}
TITLES = {"lstm": "LSTM without attention, tuned", "random": "random", "surrogate": "surrogate"}


@final
@dataclass(frozen=True)
class Setting:
    """How large everything is: `longer` are the epochs of the last training; the sizes are those of the space."""

    examples: int = 10000
    trials: int = 10
    epochs: int = 1
    longer: int = 8
    parameters: int = 150_000
    hidden: Sequence[int] = (32, 64, 96, 128)
    embedding: Sequence[int] = (16, 32, 64)

    @property
    def task(self) -> dict[str, Any]:
        """The task of all ways."""
        return {
            "name": "sequence_to_sequence",
            "dataset": "dates",
            "examples": self.examples,
            "batch_size": 32,
            "learning_rate": {"range": [1e-3, 3e-2], "log": True},
            "epochs": self.epochs,
            "device": "cpu",
        }


@final
@dataclass(frozen=True)
class Found:
    """Shares of dates that are exactly right: the best trial's, its longer training's, and that of the test part."""

    search: float
    validation: float
    test: float
    parameters: int
    seconds: float
    candidate: Mapping[str, Any]


def searched(way: str, seed: int, setting: Setting, journal: Path) -> Found:
    """One search with its last training and its test; read from the journal where it is there."""
    few, strategy = WAYS[way]
    sizes = {"layers": [1, 2], "hidden": list(setting.hidden), "embedding": list(setting.embedding)}
    job = {
        "name": f"{way}-{setting.trials}-{setting.examples}-{setting.epochs}-{setting.longer}-{seed}",
        "task": setting.task,
        "space": {"name": "seq2seq", **sizes, **few},
        "strategy": strategy,
        "constraints": {"parameters": {"max": setting.parameters}},
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
        seconds = sum(one.device_seconds for one in search.trials())
    assert best.result is not None
    assert winner.result is not None
    before, after = (result.metrics["exact"] for result in (best.result, winner.result))
    parameters = round(winner.result.metrics["parameters"])
    return Found(before, after, test["test_exact"], parameters, seconds, winner.trial.candidate.json())


def measure(setting: Setting, seeds: Sequence[int], journal: Path) -> dict[str, list[Found]]:
    """What each way finds, seed by seed, in turns."""
    found: dict[str, list[Found]] = {way: [] for way in WAYS}
    for seed in seeds:
        for way in WAYS:
            one = searched(way, seed, setting, journal)
            found[way].append(one)
            print(
                f"{TITLES[way]:<29} seed {seed}  search {one.search:7.2%}  longer {one.validation:7.2%}  "
                f"test {one.test:7.2%}  {one.parameters:,} parameters  {one.seconds:5.0f} s",
                flush=True,
            )
    return found


def say(found: Mapping[str, Sequence[Found]]) -> None:
    """The figure, for people."""
    print("\n|  | best of the search | trained for longer | test | parameters | seconds of a search |")
    print("|---|---:|---:|---:|---:|---:|")
    for way, runs in found.items():
        columns = [interval([getattr(one, name) for one in runs]) for name in ("search", "validation", "test")]
        cells = " | ".join(f"{mean:.2%} ± {half:.2%}" for mean, half in columns)
        counts = " ".join(f"{one.parameters:,}" for one in runs)
        print(f"| {TITLES[way]} | {cells} | {counts} | {fmean(one.seconds for one in runs):.0f} |")
    print("\nDates exactly right, mean over seeds ± half of the 95 % interval (Student). On the test part, by seeds:\n")
    for first, second in combinations(reversed(list(found)), 2):
        ours, theirs = ([one.test for one in found[way]] for way in (first, second))
        print(f"- {TITLES[first]} against {TITLES[second]}: {verdict(ours, theirs)}")


def main() -> int:
    """Run, print, and say by the exit code whether the surrogate's networks are good enough."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2", help="comma-separated")
    parser.add_argument("--journal", type=Path, help="where searches are kept; otherwise nowhere")
    parser.add_argument("--tiny", action="store_true", help="2 trials of 300 dates each, and nothing is asked of them")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    given = parser.parse_args()
    setting = Setting(300, 2, 1, 2, hidden=(16, 32), embedding=(16,)) if given.tiny else Setting()
    seeds = [int(seed) for seed in given.seeds.split(",")]
    with tempfile.TemporaryDirectory(prefix="dates-") as folder:
        found = measure(setting, seeds, given.journal or Path(folder))
    say(found)
    reached = fmean(one.test for one in found["surrogate"])
    if given.json:
        flat = {f"{way}_test_exact": round(fmean(one.test for one in runs), 4) for way, runs in found.items()}
        print(json.dumps({**flat, "seeds": len(seeds), "runs": {way: [*map(asdict, r)] for way, r in found.items()}}))
    return 0 if given.tiny or reached >= LEAST else 1


if __name__ == "__main__":
    raise SystemExit(main())
