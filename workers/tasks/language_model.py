"""Foresee the next character or word: CPython's documentation, any text file, or the Penn Treebank's three files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, final

from search_spaces.decisions import Candidate
from search_spaces.space import Signature
from workers.errors import NotFoundError, UserError
from workers.objectives import Direction, Objective
from workers.task import Deployed, Epoch, State, Task
from workers.text.corpus import CHARACTERS, UNITS, Corpus, Cut, corpus, require_tokens
from workers.text.corpus_files import DATASETS, PYTHON_TOPICS, texts_of
from workers.text.language_recipe import LanguageRecipe
from workers.text.vocabulary import UNKNOWN
from workers.trial import Json, Trial

if TYPE_CHECKING:
    import torch
    from torch import nn


@final
@dataclass(frozen=True)
class Preprocessing:
    """How a text becomes numbers: which `unit` has which place in `vocabulary`; others are `unknown`."""

    unit: str
    vocabulary: tuple[str, ...]
    unknown: str = UNKNOWN


@final
@dataclass(frozen=True, kw_only=True)
class LanguageModel(LanguageRecipe, Task):
    """Options: those of the recipe, which text, and how it is read.

    `dataset` is `python_topics` (the documentation that CPython carries, without a download), `file` (the text file
    `root`, also .gz) or `ptb` (the folder `root` with ptb.train.txt, ptb.valid.txt and ptb.test.txt, also .gz). `unit`
    is `characters` or `words`, which spaces separate, with `<eos>` behind every line. A file is cut by position: the
    last share `test` of it, and `validation` before that. The vocabulary is `<unk>`, for words `<eos>`, and what
    the training part has `minimum_count` times, at most `vocabulary_size` in all, the commonest first.
    `train_tokens` and `validation_tokens` use only so many from the beginning of a part.

    `batch_size` streams are read side by side in windows of `steps` tokens; the state is carried from window to
    window, gradients are not, and an epoch begins with an empty one. A part is scored in `evaluation_streams` pieces
    side by side: every token but the first is foreseen once, and at so many cuts without what was before; 1: nowhere.
    After each epoch `sample_tokens` are drawn at `temperature` (0: none). `device` is `auto`, `cpu`, `cuda` or
    `cuda:N`.
    """

    dataset: str = PYTHON_TOPICS
    root: str | None = None
    unit: str = CHARACTERS
    minimum_count: int = 1
    vocabulary_size: int | None = None
    validation: float = 0.05
    test: float = 0.05
    train_tokens: int | None = None
    validation_tokens: int | None = None
    steps: int = 64
    evaluation_streams: int = 10
    sample_tokens: int = 400
    temperature: float = 0.8
    epochs: int = 5
    device: str = "auto"

    needs_space: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dataset not in DATASETS:
            raise NotFoundError(
                f"dataset is {self.dataset!r}, but must be {', '.join(DATASETS)}: a text of yours is dataset: file "
                "with its path as root"
            )
        if (self.root is None) != (self.dataset == PYTHON_TOPICS):
            raise UserError(
                f"dataset is {self.dataset} and root {self.root}: file and ptb need root, a path, and python_topics "
                "has none"
            )
        if self.unit not in UNITS:
            raise UserError(f"unit is {self.unit!r}, but must be {' or '.join(UNITS)}")
        if not (self.validation > 0 and self.test > 0 and self.validation + self.test < 1):
            raise UserError(
                f"validation is {self.validation} and test {self.test}, but both must be shares above 0, below 1 "
                "together, as 0.05"
            )
        counts = ("minimum_count", "vocabulary_size", "train_tokens", "validation_tokens", "steps")
        for name in (*counts, "evaluation_streams", "epochs"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}, but must be at least 1")
        if self.sample_tokens < 0 or self.temperature <= 0:
            raise UserError(
                f"sample_tokens is {self.sample_tokens} and temperature {self.temperature}, but must be at least 0 and "
                "above 0"
            )
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", self.device):
            raise UserError(f"device is {self.device!r}, but must be auto, cpu, cuda or cuda:N")

    @property
    def objectives(self) -> tuple[Objective, ...]:
        first = "bits_per_character" if self.unit == CHARACTERS else "perplexity"
        return Objective(first, Direction.MINIMIZE), Objective("loss", Direction.MINIMIZE)

    @cached_property
    def corpus(self) -> Corpus:
        """The text in numbers, read once per process; raise where it is shorter than what is read at once."""
        cut = Cut(
            self.unit,
            self.validation,
            self.test,
            self.minimum_count,
            self.vocabulary_size,
            self.train_tokens,
            self.validation_tokens,
        )
        root = None if self.root is None else Path(self.root).expanduser()
        found = corpus(texts_of(self.dataset, root), cut)
        for option in ("steps", "batch_size"):
            if isinstance(count := getattr(self, option), int):  # it may be left to the search
                require_tokens(found, option, count)
        return found

    @cached_property
    def signature(self) -> Signature:
        """`steps` tokens in, as numbers; for each a logit for every token that is known. Reads the text."""
        known = len(self.corpus.vocabulary)
        return Signature(
            "language_model", {"tokens": (self.steps,)}, {"logits": (self.steps, known)}, {"tokens": known}
        )

    @property
    def preprocessing(self) -> Preprocessing:
        """The vocabulary, in the order of its numbers."""
        return Preprocessing(self.unit, self.corpus.vocabulary.tokens)

    @property
    def examples(self) -> int:
        """How many windows of `steps` tokens an epoch has."""
        return -(-len(self.corpus.train) // self.steps)

    def prepare(self) -> None:
        self.corpus  # noqa: B018 - reads it

    def located(self) -> Mapping[str, Json]:
        return {} if self.root is None else {"root": str(Path(self.root).expanduser().absolute())}

    def train(self, model: nn.Module | None, trial: Trial, state: State | None) -> Iterator[Epoch]:
        """Metrics `loss` in nats per token, and `bits_per_character` or `perplexity`; `train_loss` with penalties."""
        if model is None:
            raise UserError("language_model trains networks of a search space, but the job names none: add `space`")
        from workers.course import follow
        from workers.device import device_of
        from workers.text.language_course import LanguageCourse

        recipe, device = self.closed(trial.candidate), device_of(self.device)
        course = LanguageCourse(recipe, self.corpus, model, trial, device, state)
        yield from follow(course, trial, state)

    def minibatch(self, size: int, seed: int) -> tuple[torch.Tensor, ...]:
        """Windows of `steps` tokens."""
        import torch

        tokens = torch.from_numpy(self.corpus.train)
        starts = torch.randint(len(tokens) - self.steps + 1, (size, 1), generator=torch.Generator().manual_seed(seed))
        return (tokens[starts + torch.arange(self.steps)].long(),)

    def deployable(self, model: nn.Module, candidate: Candidate) -> Mapping[str, Deployed]:
        """One step: tokens (batch, 1) and the states before them give logits (batch, 1, known) and the new states."""
        from workers.text.language_course import input_names, output_names
        from workers.text.reading import next_step

        examples = next_step(model.eval(), self.corpus.test, 2, self.steps)
        states = len(examples) - 1
        return {"model": Deployed(model, examples, input_names(states), output_names(states))}
