"""Classify texts: the documentation that Python carries, a CSV file of texts and labels, or a folder per class."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, final

from search_spaces.decision import Decision, Range
from search_spaces.decisions import Candidate
from search_spaces.space import Signature
from workers.errors import NotFoundError, UserError
from workers.image_data import Division
from workers.objectives import Direction, Objective
from workers.recipe import Recipe
from workers.task import Deployed, Epoch, State, Task
from workers.text.documentation import Documentation
from workers.text.labelled import TextSource
from workers.text.text_data import Reading, TextData, text_data
from workers.text.text_folder import TextFolder
from workers.text.text_table import SPLIT, TextTable
from workers.text.tokenizing import KINDS, in_python
from workers.text.vocabulary import PAD, UNKNOWN
from workers.trial import Json, Trial

if TYPE_CHECKING:
    import torch
    from torch import nn

EMBEDDED = "documentation"


@final
@dataclass(frozen=True, kw_only=True)
class TextClassification(Recipe, Task):
    """Options: those of the recipe, two settings of its own, and which data.

    `label_smoothing` is of the loss. `max_norm` is the largest norm of a class's weights in the last layer, 0 for none
    (Kim, 2014: 3). Either may be left to the search.

    `dataset` is `documentation`, or the path of a .csv or .csv.gz file with a first line of columns' names, or of a
    folder with a folder of .txt files per class. Of a file `text_column`, `label_column` and `split_column` (train,
    validation, test; may be missing) are read, and with `subset` only the rows that have it in `subset_column`.
    `validation` and `test` are shares set aside where the data have no such part, drawn by `split_seed`;
    `train_examples` and `validation_examples` use only so many.

    `tokens` are `words`, `blanks` (what stands between them) or `characters`. The vocabulary is that of the training
    part: what occurs `vocabulary_minimum` times, at most `vocabulary_most`. A text has at most `length` tokens; with
    `sentences` it is a document of at most `most_sentences` sentences of `length` tokens. Every `bucketing` batches are
    drawn together and divided by length (1: not by length). `device` is `auto`, `cpu`, `cuda` or `cuda:N`.
    """

    optimizer: str = "adam"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    batch_size: int = 50
    label_smoothing: float = 0.0
    max_norm: float = 3.0

    dataset: str = EMBEDDED
    text_column: str = "text"
    label_column: str = "label"
    split_column: str = SPLIT
    subset_column: str = "dataset"
    subset: str | None = None
    validation: float = 0.1
    test: float = 0.2
    split_seed: int = 0
    train_examples: int | None = None
    validation_examples: int | None = None
    tokens: str = "words"
    vocabulary_minimum: int = 1
    vocabulary_most: int | None = None
    length: int = 100
    sentences: bool = False
    most_sentences: int = 30
    bucketing: int = 16
    epochs: int = 10
    device: str = "auto"

    rules: ClassVar[Mapping[str, Decision]] = MappingProxyType(
        {**Recipe.rules, "label_smoothing": Range(0.0, 0.99), "max_norm": Range(0.0, 1e9)}
    )

    needs_space: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("validation", "test"):
            if not 0 < getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}, but must be a share between 0 and 1, as 0.1")
        counts = ("vocabulary_minimum", "length", "most_sentences", "bucketing", "epochs")
        for name in (*counts, "train_examples", "validation_examples", "vocabulary_most"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise UserError(f"{name} is {value}, but must be at least 1")
        if self.tokens not in KINDS:
            raise UserError(f"tokens is {self.tokens!r}, but must be one of {', '.join(KINDS)}")
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", self.device):
            raise UserError(f"device is {self.device!r}, but must be auto, cpu, cuda or cuda:N")
        self.source  # noqa: B018 - so that a wrong name is refused at once

    @property
    def objectives(self) -> tuple[Objective, ...]:
        return Objective("accuracy", Direction.MAXIMIZE), Objective("loss", Direction.MINIMIZE)

    @cached_property
    def source(self) -> TextSource:
        """Where the texts come from."""
        if self.dataset == EMBEDDED:
            return Documentation()
        path = Path(self.dataset).expanduser()
        if self.dataset.endswith((".csv", ".csv.gz")):
            columns = (self.text_column, self.label_column, self.split_column)
            return TextTable(path, *columns, self.subset, self.subset_column)
        if "/" in self.dataset or path.is_dir():
            return TextFolder(path)
        raise NotFoundError(
            f"dataset is {self.dataset!r}, but must be {EMBEDDED}, or the path of a .csv or .csv.gz file, or of a "
            f"folder with a folder of .txt files per class, from {Path.cwd()}"
        )

    @cached_property
    def texts(self) -> TextData:
        """The data, loaded once per process."""
        division = Division(self.split_seed, self.validation, self.test, self.train_examples, self.validation_examples)
        sentences = self.most_sentences if self.sentences else 0
        reading = Reading(self.tokens, self.vocabulary_minimum, self.vocabulary_most, self.length, sentences)
        return text_data(self.source, division, reading)

    @cached_property
    def signature(self) -> Signature:
        """`tokens` (length,), or (sentences, length), as long as the longest training text; one logit per class."""
        shapes = {"tokens": self.texts.shape}, {"logits": (len(self.texts.classes),)}
        return Signature("text_classification", *shapes, {"tokens": len(self.texts.vocabulary)})

    @property
    def preprocessing(self) -> Mapping[str, Json]:
        """How a text becomes numbers: the place of each token in the vocabulary, 0 behind the last."""
        return {
            **in_python(self.tokens, self.sentences),
            "padding": f"{PAD}, number 0, behind the last token",
            "unknown": UNKNOWN,
            "vocabulary": list(self.texts.vocabulary.tokens),
            "classes": list(self.texts.classes),
        }

    @property
    def examples(self) -> int:
        """How many texts an epoch has."""
        return len(self.texts.train)

    def prepare(self) -> None:
        self.texts  # noqa: B018 - loads and keeps them

    def located(self) -> Mapping[str, Json]:
        return {} if self.dataset == EMBEDDED else {"dataset": str(Path(self.dataset).expanduser().absolute())}

    def train(self, model: nn.Module | None, trial: Trial, state: State | None) -> Iterator[Epoch]:
        """Metrics `accuracy`, `loss` of the validation part; `test_accuracy`, `test_correct`, ... of the test part."""
        from workers.course import follow
        from workers.device import device_of
        from workers.text.text_course import TextCourse, TextSettings

        if model is None:
            raise UserError(
                "text_classification trains networks of a search space, but the job names none: add `space`"
            )
        recipe = self.closed(trial.candidate)
        settings = TextSettings(recipe.label_smoothing, recipe.max_norm, recipe.bucketing)
        course = TextCourse(recipe, settings, self.texts, model, trial, device_of(self.device), state)
        yield from follow(course, trial, state)

    def minibatch(self, size: int, seed: int) -> tuple[torch.Tensor, ...]:
        import torch

        from workers.text.text_course import texts_of

        seen = texts_of(self.texts, "train")
        drawn = torch.randperm(len(seen), generator=torch.Generator().manual_seed(seed))[:size]
        return (seen.take(drawn.tolist(), self.texts.shape)[0],)

    def deployable(self, model: nn.Module, candidate: Candidate) -> Mapping[str, Deployed]:
        """The network itself, in evaluation mode, with the first two test texts, padded to the signature's length."""
        from workers.text.text_course import texts_of

        judged = texts_of(self.texts, "test")
        tokens, _ = judged.take([0, min(1, len(judged) - 1)], self.texts.shape)
        return {"model": Deployed(model.eval(), (tokens,), ("tokens",), ("logits",))}
