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
from nas.controllers.lstm import Array, Step, step
from search_spaces.decision import Value
from search_spaces.decisions import Candidate, Decisions

Parameters: TypeAlias = Mapping[str, Array]
Tokens: TypeAlias = NDArray[np.int64]
Rows: TypeAlias = slice | NDArray[np.int64]

ALL = slice(None)


@final
@dataclass(frozen=True, slots=True)
class Sample:
    """A candidate that a controller wrote, and the logarithm of the probability with which it does so."""

    candidate: Candidate
    log_probability: float


@final
@dataclass(frozen=True, slots=True)
class Emission:
    """One decision in n candidates: of the `rows` in which it is active the steps, one per layer, and the choice.

    `fed` is the row of the embedding that was read. `log_probabilities` is (rows, points) of all points, `chosen` the
    point that was taken, `slope` (rows, points) the derivative of the scores by the head's outputs.
    """

    decision: int
    rows: Rows
    fed: Tokens
    steps: tuple[Step, ...]
    log_probabilities: Array
    chosen: Tokens
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
        states = _States(self, parameters, 1)
        values: dict[str, Value] = {}
        total, last = 0.0, 0
        for place, (name, when, points) in enumerate(self._table):
            if when is not None and not when.holds(values):
                continue
            top = states.read(ALL, np.array([last]))[-1].hidden
            log_p = self._scored(parameters, top, place)[0][0]
            weights = np.exp(log_p if heat == 1.0 else (log_p - log_p.max()) / heat).cumsum()
            token = min(int(weights.searchsorted(generator.random() * weights[-1], side="right")), len(points) - 1)
            total += float(log_p[token])
            values[name] = points[token]
            last = 1 + int(self._words[place][token])
        return Sample(Candidate(values), total)

    def unroll(self, parameters: Parameters, tokens: Tokens) -> Unrolled:
        """The controller as it writes these n candidates, tokens given as (n, decisions)."""
        states = _States(self, parameters, len(tokens))
        last = np.zeros(len(tokens), dtype=np.int64)
        emissions = []
        for place, words in enumerate(self._words):
            active = np.flatnonzero(tokens[:, place] >= 0)
            if not len(active):
                continue
            rows: Rows = ALL if len(active) == len(tokens) else active
            fed, chosen = last[rows].copy(), tokens[rows, place]
            steps = states.read(rows, fed)
            log_p, slope = self._scored(parameters, steps[-1].hidden, place)
            emissions.append(Emission(place, rows, fed, steps, log_p, chosen, slope))
            last[rows] = 1 + words[chosen]
        return Unrolled(self, parameters, len(tokens), emissions)

    def words(self, place: int) -> Tokens:
        """The columns of the head that belong to the points of decision number `place`."""
        return self._words[place]

    def _scored(self, parameters: Parameters, top: Array, place: int) -> tuple[Array, Array | float]:
        """The log-probabilities of a decision's points after the state `top`, and the scores' slope."""
        words = self._words[place]
        scores = (top @ parameters["head"][:, words] + parameters["head_bias"][words]) / self.temperature
        slope: Array | float = 1.0 / self.temperature
        if self.tanh_constant:
            squashed = np.tanh(scores)
            slope = self.tanh_constant * (1 - squashed**2) / self.temperature
            scores = self.tanh_constant * squashed
        scores = scores - scores.max(axis=1, keepdims=True)
        return scores - np.log(np.exp(scores).sum(axis=1, keepdims=True)), slope


@final
class Unrolled:
    """A controller on n candidates, and the way back to the gradients of its parameters."""

    def __init__(self, controller: Controller, parameters: Parameters, count: int, emissions: list[Emission]) -> None:
        self.controller = controller
        self.parameters = parameters
        self.count = count
        self.emissions = emissions

    @property
    def log_probabilities(self) -> Array:
        """Of each candidate, (n,)."""
        return self._summed([e.log_probabilities[np.arange(len(e.chosen)), e.chosen] for e in self.emissions])

    @property
    def entropies(self) -> Array:
        """Of the choices on the way to each candidate, added up, in nats, (n,)."""
        return self._summed([e.entropy for e in self.emissions])

    def gradient(self, by_choice: Array, by_entropy: Array) -> dict[str, Array]:
        """The gradient of sum(by_choice * log_probabilities + by_entropy * entropies), parameter by parameter."""
        parameters, hidden, layers = self.parameters, self.controller.hidden, range(self.controller.layers)
        found = {name: np.zeros_like(value) for name, value in parameters.items()}
        dtype = parameters["head"].dtype
        d_hidden = [np.zeros((self.count, hidden), dtype) for _ in layers]
        d_cell = [np.zeros((self.count, hidden), dtype) for _ in layers]
        read: list[list[Array]] = [[] for _ in layers]
        summed: list[list[Array]] = [[] for _ in layers]
        for e in reversed(self.emissions):
            words = self.controller.words(e.decision)
            d_scores = e.by_scores(by_choice[e.rows], by_entropy[e.rows]).astype(dtype)
            found["head"][:, words] += e.steps[-1].hidden.T @ d_scores
            found["head_bias"][words] += d_scores.sum(axis=0)
            above = d_scores @ parameters["head"][:, words].T
            for layer in reversed(layers):
                sums, before = e.steps[layer].back(d_hidden[layer][e.rows] + above, d_cell[layer][e.rows])
                joined = sums @ parameters[f"layer{layer}"].T
                above, d_hidden[layer][e.rows], d_cell[layer][e.rows] = joined[:, :hidden], joined[:, hidden:], before
                read[layer].append(e.steps[layer].joined)
                summed[layer].append(sums)
            np.add.at(found["embedding"], e.fed, above)
        for layer in layers if self.emissions else ():  # one large product in place of many small ones
            sums = np.concatenate(summed[layer])
            found[f"layer{layer}"] = np.concatenate(read[layer]).T @ sums
            found[f"layer{layer}_bias"] = sums.sum(axis=0)
        return found

    def _summed(self, parts: Sequence[Array]) -> Array:
        total = np.zeros(self.count)
        for emission, part in zip(self.emissions, parts, strict=True):
            total[emission.rows] += part
        return total


@final
class _States:
    """The hidden and cell states of n rows, as far as they have read."""

    def __init__(self, controller: Controller, parameters: Parameters, count: int) -> None:
        zeros = np.zeros((count, controller.hidden), parameters["embedding"].dtype)
        self._hidden = [zeros] * controller.layers
        self._cell = [zeros] * controller.layers
        self._parameters = parameters

    def read(self, rows: Rows, ids: Tokens) -> tuple[Step, ...]:
        """Let `rows` read the embeddings `ids`; the steps of all layers, the first first."""
        steps = []
        inputs = self._parameters["embedding"][ids]
        for layer in range(len(self._hidden)):
            weights, bias = self._parameters[f"layer{layer}"], self._parameters[f"layer{layer}_bias"]
            made = step(inputs, self._hidden[layer][rows], self._cell[layer][rows], weights, bias)
            self._hidden[layer] = _placed(self._hidden[layer], rows, made.hidden)
            self._cell[layer] = _placed(self._cell[layer], rows, made.cell)
            inputs = made.hidden
            steps.append(made)
        return tuple(steps)


def _placed(state: Array, rows: Rows, new: Array) -> Array:
    """`state` with `new` in `rows`; what it was stays untouched, for the way back reads it."""
    if isinstance(rows, slice):
        return new
    state = state.copy()
    state[rows] = new
    return state
