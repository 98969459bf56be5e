"""Controller: an LSTM that writes a candidate token by token (Zoph & Le, ICLR 2017): https://arxiv.org/abs/1611.01578."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from nas.controllers.learning import Learning
from nas.controllers.lstm import Array, Trace, run, step
from search_spaces.decision import Value
from search_spaces.decisions import Candidate, Decisions

Parameters: TypeAlias = Mapping[str, Array]
Tokens: TypeAlias = NDArray[np.int64]


@final
@dataclass(frozen=True, slots=True)
class Sample:
    """A candidate that a controller wrote, and the logarithm of the probability with which it does so."""

    candidate: Candidate
    log_probability: float


@final
@dataclass(frozen=True, slots=True)
class Emission:
    """One decision in those of n candidates, `rows`, in which it is active: after which step, and what was chosen.

    `words` are the head's columns of the decision's points. `log_probabilities` is (rows, points), `chosen` the point
    that was taken, `slope` (rows, points) the derivative of the scores by the head's outputs.
    """

    words: Tokens
    steps: Tokens
    rows: Tokens
    chosen: Tokens
    log_probabilities: Array
    slope: Array | float

    @property
    def entropy(self) -> Array:
        """Of the choice, in nats, (rows,)."""
        entropy: Array = -(np.exp(self.log_probabilities) * self.log_probabilities).sum(axis=1)
        return entropy

    def by_scores(self, by_choice: Array, by_entropy: Array) -> Array:
        """The derivative by the head's outputs, (rows, points), of a sum that weighs each row's log p and entropy."""
        p, log_p = np.exp(self.log_probabilities), self.log_probabilities
        d = -by_choice[:, None] * p - by_entropy[:, None] * p * (log_p + self.entropy[:, None])
        d[np.arange(len(self.chosen)), self.chosen] += by_choice
        return d * self.slope


@final
class Controller:
    """One token per active decision, read back through an embedding before the next; inactive ones are skipped.

    A token is a place among the decision's `points`, so a range is searched on its grid. Every decision has its own
    embeddings and its own softmax, or, `shared`, those whose names differ only in numbers (of a layer, of a block) have
    the same, value by value: a controller that grows by layers needs that. All words lie side by side in the parameters
    `embedding` (1 + words, hidden), `head` (hidden, words) and `head_bias`, beside `layer<n>` (2 hidden, 4 hidden) and
    `layer<n>_bias`. Scores are the head's outputs over `temperature`, and with a `tanh_constant` C above 0 C tanh of
    that (Bello et al. 2017).
    """

    def __init__(self, decisions: Decisions, learning: Learning) -> None:
        self.decisions = decisions
        self.layers = learning.layers
        self.hidden = learning.hidden
        self.temperature = learning.temperature
        self.tanh_constant = learning.tanh_constant
        self._table = tuple((name, decision.when, decision.points) for name, decision in decisions.items())
        words: dict[tuple[str, Value], int] = {}
        self._words: list[Tokens] = []
        for name, _, points in self._table:
            family = re.sub(r"\d+", "", name) if learning.shared else name
            self._words.append(np.array([words.setdefault((family, point), len(words)) for point in points]))
        self._size = len(words)

    def initial(self, bound: float, generator: np.random.Generator, dtype: str = "float32") -> dict[str, Array]:
        """Parameters drawn uniformly between -`bound` and `bound`."""
        hidden = self.hidden
        shapes: dict[str, tuple[int, ...]] = {"embedding": (1 + self._size, hidden)}
        for layer in range(self.layers):
            shapes |= {f"layer{layer}": (2 * hidden, 4 * hidden), f"layer{layer}_bias": (4 * hidden,)}
        shapes |= {"head": (hidden, self._size), "head_bias": (self._size,)}
        return {name: generator.uniform(-bound, bound, shape).astype(dtype) for name, shape in shapes.items()}

    def tokens(self, candidates: Sequence[Candidate]) -> Tokens:
        """The tokens of candidates, (n, decisions), -1 where a decision is inactive."""
        rows = [self.decisions.tokens(candidate) for candidate in candidates]
        return np.array(rows, dtype=np.int64).reshape(len(rows), len(self._table))

    def sample(self, parameters: Parameters, generator: Random, heat: float = 1.0) -> Sample:
        """A candidate as the controller writes it; with `heat` above 1 its choices are drawn more evenly.

        The log-probability is that without heat.
        """
        zeros = np.zeros((1, self.hidden), parameters["embedding"].dtype)
        states = [(zeros, zeros)] * self.layers
        values: dict[str, Value] = {}
        total, last = 0.0, 0
        for (name, when, points), words in zip(self._table, self._words, strict=True):
            if when is not None and not when.holds(values):
                continue
            states = self._read(parameters, states, last)
            log_p = self._scored(parameters, states[-1][0], words)[0][0]
            weights = np.exp(log_p if heat == 1.0 else (log_p - log_p.max()) / heat).cumsum()
            token = min(int(weights.searchsorted(generator.random() * weights[-1], side="right")), len(points) - 1)
            total += float(log_p[token])
            values[name] = points[token]
            last = 1 + int(words[token])
        return Sample(Candidate(values), total)

    def unroll(self, parameters: Parameters, tokens: Tokens) -> Unrolled:
        """The controller as it writes these n candidates, tokens given as (n, decisions)."""
        active = tokens >= 0
        steps = active.cumsum(axis=1) - 1  # at which the decision is made: inactive ones take none
        fed = np.zeros((int(steps.max(initial=-1)) + 2, len(tokens)), dtype=np.int64)
        made = []
        for place, words in enumerate(self._words):
            rows = np.flatnonzero(active[:, place])
            if len(rows):
                chosen, here = tokens[rows, place], steps[rows, place]
                fed[here + 1, rows] = 1 + words[chosen]
                made.append((words, here, rows, chosen))
        fed = fed[:-1]  # the last word is read by nobody; after a shorter candidate's end, nobody reads what comes out
        traces, outputs = [], parameters["embedding"][fed]
        for layer in range(self.layers):
            traces.append(run(outputs, parameters[f"layer{layer}"], parameters[f"layer{layer}_bias"]))
            outputs = traces[-1].outputs
        emissions = [
            Emission(words, here, rows, chosen, *self._scored(parameters, outputs[here, rows], words))
            for words, here, rows, chosen in made
        ]
        return Unrolled(parameters, fed, traces, emissions)

    def _read(self, parameters: Parameters, states: list[tuple[Array, Array]], word: int) -> list[tuple[Array, Array]]:
        """The hidden and cell state of every layer after one more word."""
        following = []
        inputs = parameters["embedding"][word : word + 1]
        for layer, (hidden, cell) in enumerate(states):
            weights, bias = parameters[f"layer{layer}"], parameters[f"layer{layer}_bias"]
            sums = np.concatenate((inputs, hidden), axis=1) @ weights + bias
            _, cell, inputs = step(sums, cell)
            following.append((inputs, cell))
        return following

    def _scored(self, parameters: Parameters, top: Array, words: Tokens) -> tuple[Array, Array | float]:
        """The log-probabilities of a decision's points after the states `top`, and the scores' slope."""
        scores = (top @ parameters["head"][:, words] + parameters["head_bias"][words]) / self.temperature
        slope: Array | float = 1.0 / self.temperature
        if self.tanh_constant:
            squashed = np.tanh(scores)
            slope = self.tanh_constant * (1 - squashed**2) / self.temperature
            scores = self.tanh_constant * squashed
        scores = scores - scores.max(axis=1, keepdims=True)
        return scores - np.log(np.exp(scores).sum(axis=1, keepdims=True)), slope


@final
@dataclass(frozen=True, slots=True)
class Unrolled:
    """A controller on n candidates, and the way back to the gradients of its parameters.

    `fed` (steps, n) are the words it read, `traces` the runs of its layers, the first first.
    """

    parameters: Parameters
    fed: Tokens
    traces: list[Trace]
    emissions: list[Emission]

    @property
    def log_probabilities(self) -> Array:
        """Of each candidate, (n,)."""
        total = np.zeros(self.fed.shape[1])
        for e in self.emissions:
            total[e.rows] += e.log_probabilities[np.arange(len(e.chosen)), e.chosen]
        return total

    @property
    def entropies(self) -> Array:
        """Of the choices on the way to each candidate, added up, in nats, (n,)."""
        total = np.zeros(self.fed.shape[1])
        for e in self.emissions:
            total[e.rows] += e.entropy
        return total

    def gradient(self, by_choice: Array, by_entropy: Array) -> dict[str, Array]:
        """The gradient of sum(by_choice * log_probabilities + by_entropy * entropies), parameter by parameter."""
        parameters, outputs = self.parameters, self.traces[-1].outputs
        found = {name: np.zeros_like(parameters[name]) for name in ("embedding", "head", "head_bias")}
        derivative = np.zeros_like(outputs)
        for e in self.emissions:
            d_scores = e.by_scores(by_choice[e.rows], by_entropy[e.rows]).astype(outputs.dtype)
            found["head"][:, e.words] += outputs[e.steps, e.rows].T @ d_scores
            found["head_bias"][e.words] += d_scores.sum(axis=0)
            derivative[e.steps, e.rows] = d_scores @ parameters["head"][:, e.words].T
        for layer in reversed(range(len(self.traces))):
            name = f"layer{layer}"
            derivative, found[name], found[f"{name}_bias"] = self.traces[layer].back(derivative, parameters[name])
        np.add.at(found["embedding"], self.fed, derivative)
        return found
