"""The classic recurrent networks: layers of RNN, LSTM, GRU or a searched cell, one above the other.

| decision | value | of |
|---|---|---|
| `unit` | `rnn`, `lstm`, `gru`, `peephole_lstm` or `searched` | both |
| `layers`, `hidden`, `embedding` | how many, of how many units in each direction, above vectors of which size | both |
| `connection` | from a layer's input to its output, from the second on: `none`, `residual`, `highway` | both |
| `dropout`, `embedding_dropout` | of features, in all steps of a text alike; of whole words | both |
| `bidirectional` | whether each layer also reads from the end to the beginning | `text_classification` |
| `pyramidal` | whether neighbouring steps become one between layers | `text_classification` |
| `readout` | `last` state, `mean`, `max`, `attention` | `text_classification` |
| `tied` | whether the logits are products with the embeddings | `language_model` |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Literal, final

from search_spaces.decision import Choice, Decision, DecisionError, Range, Value, When, growing
from search_spaces.decisions import Candidate, Decisions
from search_spaces.rnn.cell_families import require_cell
from search_spaces.rnn.cell_family import CellJson
from search_spaces.rnn.published_cells import CELLS
from search_spaces.rnn.stack_counts import StackCounts
from search_spaces.rnn.stack_plan import StackPlan
from search_spaces.space import Blueprint, Description, Signature, Space, UnfitError, require

UNITS = ("rnn", "lstm", "gru", "peephole_lstm", "searched")
OPTIONS = {  # of each decision: what it may choose from
    "unit": "units",
    "layers": "layers",
    "hidden": "hidden",
    "embedding": "embedding",
    "bidirectional": "bidirectional",
    "connection": "connections",
    "pyramidal": "pyramidal",
    "dropout": "dropout",
    "embedding_dropout": "embedding_dropout",
    "readout": "readouts",
    "tied": "tied",
}
RULES: Mapping[str, Decision] = {  # what each value of an option must be
    "units": Choice(UNITS),
    "layers": Range(1, 100, integer=True),
    "hidden": Range(1, 1 << 16, integer=True),
    "embedding": Range(1, 1 << 16, integer=True),
    "bidirectional": Choice((False, True)),
    "connections": Choice(("none", "residual", "highway")),
    "pyramidal": Choice((False, True)),
    "dropout": Range(0.0, 0.99),
    "embedding_dropout": Range(0.0, 0.99),
    "readouts": Choice(("last", "mean", "max", "attention")),
    "tied": Choice((False, True)),
}
RANKS = {"text_classification": 1, "language_model": 2}  # dimensions of the logits
ONLY = {  # the kind of task that alone has an option
    "bidirectional": "text_classification",
    "pyramidal": "text_classification",
    "readouts": "text_classification",
    "tied": "language_model",
}


@final
@dataclass(frozen=True)
class RecurrentStackSpace(Space):
    """Options: what each decision may choose from (one value: it is fixed), and what for.

    - `for_task`: `text_classification` or `language_model`. Decisions of the other one are not there, and their options
      may not be given.
    - `units`, `layers`, `hidden`, `embedding`, `connections`, `dropout`, `embedding_dropout`; of texts to classify
      `bidirectional`, `pyramidal`, `readouts`; of a language model `tied`.
    - `cell`: the unit `searched`, as a search of `recurrent_cell` has found it: what stands under `cell` in the
      blueprint of its export (`architecture.json`); or the name of a published one, as `darts_v2`.
    """

    for_task: Literal["text_classification", "language_model"] = "text_classification"
    units: Sequence[str] | None = None
    layers: Sequence[int] = (1, 2, 3)
    hidden: Sequence[int] = (64, 128, 256)
    embedding: Sequence[int] = (64, 128, 256)
    connections: Sequence[str] = ("none", "residual", "highway")
    dropout: Sequence[float] = (0.0, 0.25, 0.5)
    embedding_dropout: Sequence[float] = (0.0, 0.1)
    bidirectional: Sequence[bool] | None = None
    pyramidal: Sequence[bool] | None = None
    readouts: Sequence[str] | None = None
    tied: Sequence[bool] | None = None
    cell: Mapping[str, Any] | str | None = None

    def __post_init__(self) -> None:
        if self.for_task not in RANKS:
            raise DecisionError(f"for_task is {self.for_task!r}, but must be one of {', '.join(RANKS)}")
        for option, task in ONLY.items():
            if task != self.for_task and getattr(self, option) is not None:
                raise DecisionError(
                    f"{option} is {getattr(self, option)}, but only for {task}: leave it out, or set for_task: {task}"
                )
        if self.cell is not None:
            object.__setattr__(self, "cell", _known(self.cell))
        for option in self._options.values():
            object.__setattr__(self, option, self._values(option))
        if ("searched" in (self.units or ())) != (self.cell is not None):
            raise DecisionError(
                f"units is {list(self.units or ())} and cell is {self.cell}, but the unit searched is a cell that is "
                "given: put under cell one that recurrent_cell has found, or leave out both"
            )

    @property
    def _options(self) -> dict[str, str]:
        """Of each decision that is there, the option that says what it may choose from."""
        return {name: option for name, option in OPTIONS.items() if ONLY.get(option, self.for_task) == self.for_task}

    def _values(self, option: str) -> tuple[Value, ...]:
        """What is given for `option`, checked; all that there is where nothing is given."""
        rule, given = RULES[option], getattr(self, option)
        if given is None:
            return tuple(one for one in rule.points if one != "searched" or self.cell is not None)
        values = tuple(rule.check(option, value) for value in given)
        if not values or len(set(values)) < len(values):
            raise DecisionError(f"{option} is {list(values)}, but must be a list of different values, at least one")
        return values

    @cached_property
    def decisions(self) -> Decisions:
        table: dict[str, Decision] = {}
        for name, option in self._options.items():
            values = getattr(self, option)
            when = When.at_least("layers", 2) if name in ("connection", "pyramidal") else None
            table[name] = Choice(values, when, ordered=len(values) > 1 and growing(values))
        return Decisions(table)

    def plan(self, candidate: Candidate) -> dict[str, Any]:
        """The layers of `candidate`, as the fields of a `StackPlan`."""
        names = {field.name for field in fields(StackPlan)}
        plan: dict[str, Any] = {name: candidate[name] for name in OPTIONS if name in names and name in candidate}
        return {**plan, "cell": self.cell} if plan["unit"] == "searched" else plan

    def blueprint(self, candidate: Candidate, signature: Signature) -> Blueprint:
        self.check(signature)
        arguments: dict[str, Any] = {"vocabulary": signature.vocabularies["tokens"], "plan": self.plan(candidate)}
        if self.for_task == "language_model":
            arguments["tied"] = candidate["tied"]
            return Blueprint("search_spaces.rnn.stack_language_model:StackLanguageModel", arguments)
        (arguments["classes"],) = signature.outputs["logits"]
        if candidate["readout"] == "attention":
            return Blueprint("search_spaces.rnn.stack_classifier:AttentiveClassifier", arguments)
        arguments["readout"] = candidate["readout"]
        return Blueprint("search_spaces.rnn.stack_classifier:PoolingClassifier", arguments)

    def describe(self, candidate: Candidate, signature: Signature) -> Description:
        (steps,), vocabulary = signature.inputs["tokens"], signature.vocabularies["tokens"]
        counts = StackCounts(StackPlan(**self.plan(candidate)), vocabulary, steps)
        if self.for_task == "language_model":
            counts.prediction(vocabulary, bool(candidate["tied"]))
        else:
            counts.readout(str(candidate["readout"]))
            counts.classifier(*signature.outputs["logits"])
        return counts.describe()

    def check(self, signature: Signature) -> None:
        if signature.kind in RANKS and signature.kind != self.for_task:
            raise UnfitError(
                f"recurrent_stack builds for {self.for_task} here, but the task is {signature.kind}: "
                f"set its option for_task: {signature.kind}, or choose another space"
            )
        require(self, signature, self.for_task, {"tokens": 1}, {"logits": RANKS[self.for_task]})
        if "tokens" not in signature.vocabularies:
            raise UnfitError("recurrent_stack reads whole numbers, but the task has real ones: choose another space")


def _known(cell: Mapping[str, Any] | str) -> CellJson:
    """`cell`, or the published one of that name; `DecisionError` where no layer can be built from it."""
    if isinstance(cell, str):
        if cell not in CELLS:
            raise DecisionError(f"cell is {cell!r}, but must be one of {', '.join(CELLS)}, or a cell as it was found")
        return CELLS[cell]
    try:
        require_cell(cell)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise DecisionError(
            f"cell is {dict(cell)}, but must be as it stands under cell in the blueprint of what a search of "
            f"recurrent_cell has exported ({type(error).__name__}: {error})"
        ) from None
    return cell
