"""Seconds that the surrogate takes to score every expansion of a full beam.

256 parents of four blocks in the published PNAS space (8 operations) have 301,056 expansions. What is timed is what a
search does between two levels, but for the fit: build the integer arrays, score them, rank them, and walk down the
ranking until 256 candidates are found that are not isomorphic. `--plain` times the same scores from whole sequences,
one in `--share` of them, as a measure of what sharing prefixes saves.

    python benchmarks/surrogate.py [--json] [--repetitions 5] [--surrogate lstm] [--threads 2] [--plain]
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from random import Random

import numpy as np
import torch

from nas.surrogates.ensemble import Ensemble
from nas.surrogates.frontier import Frontier
from nas.surrogates.vocabulary import Vocabulary
from search_spaces.cnn.pnas import PnasSpace
from search_spaces.decisions import Candidate

BEAM, BLOCKS = 256, 5


def parents(space: PnasSpace, seed: int) -> list[Candidate]:
    """A beam of random cells with one block less than the space allows."""
    generator = Random(seed)
    names = space.decisions
    return [names.complete({"blocks": BLOCKS - 1}, generator) for _ in range(BEAM)]


def surrogate(space: PnasSpace, network: str, seed: int) -> tuple[Ensemble, Vocabulary]:
    """An ensemble fitted to a few random cells; how well does not matter to how fast."""
    vocabulary, generator = Vocabulary(space.decisions), Random(seed)
    model = Ensemble(vocabulary, network, seed=seed)
    cells = [space.decisions.complete({"blocks": BLOCKS - 1}, generator) for _ in range(64)]
    model.fit([vocabulary.sequence(cell) for cell in cells], [generator.random() for _ in cells])
    return model, vocabulary


def choose(space: PnasSpace, model: Ensemble, vocabulary: Vocabulary, beam: list[Candidate]) -> tuple[int, float]:
    """How many expansions there were, and the seconds until the best of them were chosen."""
    started = time.perf_counter()
    frontier = Frontier(space, vocabulary, beam)
    scores = model.expand(frontier.prefixes, frontier.owners, frontier.suffixes)
    chosen: set[object] = set()
    for row in np.argsort(-scores, kind="stable"):
        chosen.add(space.canonical(frontier.candidate(int(row))))
        if len(chosen) == BEAM:
            break
    return len(frontier), time.perf_counter() - started


def plain(space: PnasSpace, model: Ensemble, vocabulary: Vocabulary, beam: list[Candidate], share: int) -> float:
    """The seconds that scoring whole sequences would take, from one in `share` of them."""
    frontier = Frontier(space, vocabulary, beam)
    rows = range(0, len(frontier), share)
    sequences = [(*frontier.prefixes[frontier.origin(row)], *frontier.suffixes[row].tolist()) for row in rows]
    started = time.perf_counter()
    model.predict(sequences)
    return (time.perf_counter() - started) * share


def main() -> None:
    """Print the measurement."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--repetitions", type=int, default=5)
    arguments.add_argument("--surrogate", default="lstm", choices=("lstm", "mlp"))
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--plain", action="store_true")
    arguments.add_argument("--share", type=int, default=32)
    given = arguments.parse_args()
    torch.set_num_threads(given.threads)
    space = PnasSpace(blocks=BLOCKS)
    model, vocabulary = surrogate(space, given.surrogate, seed=0)
    timed = [choose(space, model, vocabulary, parents(space, seed)) for seed in range(given.repetitions)]
    seconds = [one for _, one in timed]
    record = {
        "expansions": timed[0][0],
        "surrogate": given.surrogate,
        "threads": given.threads,
        "seconds": seconds,
        "median": statistics.median(seconds),
        "spread": max(seconds) - min(seconds),
        "torch": torch.__version__,
        "machine": platform.machine(),
    }
    if given.plain:
        record["plain_seconds"] = plain(space, model, vocabulary, parents(space, 0), given.share)
    if given.json:
        json.dump(record, sys.stdout)
        return
    print(f"{timed[0][0]:,} expansions, {given.surrogate} x 5, {given.threads} threads, torch {torch.__version__}")
    low, high = min(seconds), max(seconds)
    print(f"median {record['median']:.2f} s, {low:.2f} to {high:.2f} s in {len(seconds)} repetitions")
    if given.plain:
        print(f"from whole sequences: {record['plain_seconds']:.1f} s (from one in {given.share})")


if __name__ == "__main__":
    main()
