"""Read a text and write another: dates as people write them into ISO 8601, or any pairs in a CSV file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, final

from search_spaces.decisions import Candidate
from search_spaces.space import Signature
from workers.errors import NotFoundError, UserError
from workers.objectives import Direction, Objective
from workers.task import Deployed, Epoch, State, Task
from workers.text.dates import Dates
from workers.text.exported_language import ExportedLanguage
from workers.text.pair_data import UNITS, PairData, Spelling, pair_data
from workers.text.pair_recipe import PairRecipe
from workers.text.pair_table import SPLIT, PairTable
from workers.text.pairs import PairSource, Shares
from workers.text.tokenizing import in_python
from workers.text.vocabulary import BEGIN, END, PAD, UNKNOWN
from workers.trial import Json, Trial

if TYPE_CHECKING:
    import torch
    from torch import nn

EMBEDDED = "dates"


@final
@dataclass(frozen=True, kw_only=True)
class SequenceToSequence(PairRecipe, Task):
    """Options: those of the recipe, which pairs, and how texts are written.

    `dataset` is `dates` (`examples` days, each written by a pattern of one of `locales`, to be written as ISO 8601), or
    the path of a .csv or .csv.gz file with a first line of columns' names, of which `source_column`, `target_column`
    and `split_column` (train, validation, test; may be missing) are read. `validation` and `test` are shares set aside
    where the data have no such part, drawn by `split_seed`.

    `tokens` are `characters`, or `words`, which blanks separate. Both sides share one vocabulary, that of the training
    part: what occurs `vocabulary_minimum` times, at most `vocabulary_most`. Training pairs with more than `length`
    tokens on a side are left out, others are cut there. Every `bucketing` batches are drawn together and divided by
    length.

    When a network is scored it keeps `beam` hypotheses side by side (1: greedy). Their log probabilities are divided by
    their length to the power of `length_penalty`; `rescoring` is the weight of a language model beside that of the
    network: of the one that `nas export` wrote into the folder `language_model`, else of n-grams of `rescoring_order`
    tokens, counted in what is to be written for the training part. `device` is `auto`, `cpu`, `cuda` or `cuda:N`.
    """

    dataset: str = EMBEDDED
    examples: int = 12000
    locales: Sequence[str] = ("en_US",)
    source_column: str = "source"
    target_column: str = "target"
    split_column: str = SPLIT
    validation: float = 0.1
    test: float = 0.1
    split_seed: int = 0
    tokens: str = "characters"
    vocabulary_minimum: int = 1
    vocabulary_most: int | None = None
    length: int = 200
    bucketing: int = 16
    beam: int = 1
    length_penalty: float = 0.0
    rescoring: float = 0.0
    rescoring_order: int = 3
    language_model: str | None = None
    epochs: int = 10
    device: str = "auto"

    needs_space: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "locales", (self.locales,) if isinstance(self.locales, str) else tuple(self.locales))
        for name in ("validation", "test"):
            if not 0 < getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}, but must be a share between 0 and 1, as 0.1")
        counts = ("vocabulary_minimum", "vocabulary_most", "length", "bucketing", "beam", "rescoring_order", "epochs")
        for name in counts:
            if (value := getattr(self, name)) is not None and value < 1:
                raise UserError(f"{name} is {value}, but must be at least 1")
        for name in ("length_penalty", "rescoring"):
            if not 0 <= getattr(self, name) <= 10:
                raise UserError(f"{name} is {getattr(self, name)}, but must be a number from 0 to 10")
        if self.rescoring and self.beam == 1:
            raise UserError(
                f"rescoring is {self.rescoring}, but a beam of 1 leaves nothing to choose from: set beam to 5 or so"
            )
        if self.language_model is not None and not self.rescoring:
            raise UserError(
                f"language_model is {self.language_model}, but rescoring, its weight, is 0: set rescoring to 0.3 or "
                "so, and beam to 5"
            )
        if self.tokens not in UNITS:
            raise UserError(f"tokens is {self.tokens!r}, but must be one of {', '.join(UNITS)}")
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", self.device):
            raise UserError(f"device is {self.device!r}, but must be auto, cpu, cuda or cuda:N")
        self.source, self.language  # noqa: B018 - so that a wrong name is refused at once

    @property
    def objectives(self) -> tuple[Objective, ...]:
        return (
            Objective("exact", Direction.MAXIMIZE),
            Objective("token_accuracy", Direction.MAXIMIZE),
            Objective("bleu", Direction.MAXIMIZE),
            Objective("loss", Direction.MINIMIZE),
        )

    @cached_property
    def source(self) -> PairSource:
        """Where the pairs come from."""
        if self.dataset == EMBEDDED:
            return Dates(self.examples, tuple(self.locales))
        if self.dataset.endswith((".csv", ".csv.gz")):
            columns = (self.source_column, self.target_column, self.split_column)
            return PairTable(Path(self.dataset).expanduser(), *columns)
        raise NotFoundError(
            f"dataset is {self.dataset!r}, but must be {EMBEDDED}, or the path of a .csv or .csv.gz file"
        )

    @cached_property
    def language(self) -> ExportedLanguage | None:
        """What rescores, where that is given."""
        if self.language_model is None:
            return None
        return ExportedLanguage(Path(self.language_model).expanduser(), self.tokens)

    @cached_property
    def pairs(self) -> PairData:
        """The data, loaded once per process."""
        spelling = Spelling(self.tokens, self.vocabulary_minimum, self.vocabulary_most, self.length)
        return pair_data(self.source, Shares(self.validation, self.test, self.split_seed), spelling)

    @cached_property
    def signature(self) -> Signature:
        """`source` and `target` as long as the longest; logits of one vocabulary behind each token of the target."""
        (read, written), size = self.pairs.shape, len(self.pairs.vocabulary)
        return Signature(
            "sequence_to_sequence",
            {"source": (read,), "target": (written,)},
            {"logits": (written, size)},
            {"source": size, "target": size},
        )

    @property
    def preprocessing(self) -> Mapping[str, Json]:
        """How a text becomes numbers: the place of each token in the vocabulary, `<eos>` behind the last, then 0."""
        return {
            "tokens": in_python("blanks" if self.tokens == "words" else self.tokens, sentences=False)["tokens"],
            "padding": f"{PAD}, number 0, behind what ends a source",
            "unknown": UNKNOWN,
            "source": f"its tokens, then {END}",
            "target": f"{BEGIN}, then its tokens; logits at each are of the next one, {END} being the last",
            "writing": f"encoder once; step first with {BEGIN}, then each time with the likeliest token (neither {PAD} "
            f"nor {BEGIN}) and the next state, until {END}",
            "vocabulary": list(self.pairs.vocabulary.tokens),
        }

    def prepare(self) -> None:
        self.pairs  # noqa: B018 - loads and keeps them

    def located(self) -> Mapping[str, Json]:
        places = {"dataset": None if self.dataset == EMBEDDED else self.dataset, "language_model": self.language_model}
        return {name: str(Path(one).expanduser().absolute()) for name, one in places.items() if one is not None}

    def train(self, model: nn.Module | None, trial: Trial, state: State | None) -> Iterator[Epoch]:
        """Metrics `exact`, `token_accuracy`, `bleu`, `loss`: how often all that is written is right; tokens behind
        right ones; from 0 to 100; nats of a token. Of the test part also `test_correct` of `test_total`.
        """  # noqa: D205
        from workers.course import follow
        from workers.device import device_of
        from workers.text.pair_course import PairCourse, Writing

        if model is None:
            raise UserError(
                "sequence_to_sequence trains networks of a search space, but the job names none: add `space: seq2seq`"
            )
        how = Writing(
            self.beam, self.length_penalty, self.rescoring, self.rescoring_order, self.bucketing, self.language
        )
        recipe = self.closed(trial.candidate)
        course = PairCourse(recipe, how, self.pairs, model, trial, device_of(self.device), state)
        yield from follow(course, trial, state)

    def minibatch(self, size: int, seed: int) -> tuple[torch.Tensor, ...]:
        """Texts to read, and right ones to write."""
        import torch

        from workers.text.pair_batches import tensors_of

        pairs = tensors_of(self.pairs, "train")
        drawn = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(seed))[:size]
        batch = pairs.take(drawn.tolist(), torch.device("cpu"))
        return batch.source, batch.given

    def deployable(self, model: nn.Module, candidate: Candidate) -> Mapping[str, Deployed]:
        """`encoder`, which reads two texts of the test part, and `step`, which writes the first token for them."""
        import torch

        from workers.text.halves import Reader, Writer
        from workers.text.pair_course import first_sources
        from workers.text.pair_data import BEGUN

        reader, writer = Reader(model.eval()).eval(), Writer(model).eval()
        source = first_sources(self.pairs, "test", 2)
        with torch.no_grad():
            carried = reader(source)
        begun = (torch.full((2,), BEGUN), *((source,) if writer.looks_back else ()), *carried)
        names = writer.inputs[-len(carried) :]
        return {
            "encoder": Deployed(reader, (source,), ("source",), names),
            "step": Deployed(writer, begun, writer.inputs, writer.outputs),
        }
