"""TextCourse: the course of a text classifier."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from workers import exhibits
from workers.course import Score
from workers.recipe import Recipe
from workers.supervised import Supervised
from workers.task import State
from workers.text.buckets import Texts
from workers.text.text_data import TextData
from workers.trial import Trial

EVALUATED_AT_ONCE = 256
TOKENS_AT_ONCE = 1 << 16  # 256 documents of 30 sentences of 100 words took 2.3 GB
ANSWERED = 8  # texts, whose outputs prove an export
SHOWN, WIDEST = 3, 30  # texts whose attention is shown, and the most tokens of such a sentence


@final
@dataclass(frozen=True)
class TextSettings:
    """What the training of a text classifier has besides its recipe; as in the task."""

    label_smoothing: float
    max_norm: float
    bucketing: int


@final
class TextCourse(Supervised[tuple[Tensor, Tensor]]):
    """A batch is tokens (batch, length), or (batch, sentences, length), 0 being padding, and labels (batch,)."""

    def __init__(
        self,
        recipe: Recipe,
        settings: TextSettings,
        data: TextData,
        model: nn.Module,
        trial: Trial,
        device: torch.device,
        state: State | None,
    ) -> None:
        super().__init__(recipe, model, trial, device, state)
        self.settings, self.data = settings, data
        self.classifier = classifier_of(model)

    def batches(self, epoch: int, generator: torch.Generator) -> Sequence[tuple[Tensor, Tensor]]:
        texts = texts_of(self.data, "train")
        drawn = texts.batches(self.recipe.batch_size, self.settings.bucketing, generator)
        return [texts.take(places) for places in drawn]

    def loss(self, batch: tuple[Tensor, Tensor], generator: torch.Generator) -> tuple[Tensor, int]:
        tokens, labels = (one.to(self.device) for one in batch)
        smoothing = self.settings.label_smoothing
        return functional.cross_entropy(self.model(tokens), labels, label_smoothing=smoothing), len(labels)

    def step(self, loss: Tensor) -> None:
        """Also scale back the classifier's weights of a class where their norm is above `max_norm` (Kim, 2014)."""
        super().step(loss)
        if self.settings.max_norm and self.classifier is not None:
            weight = self.classifier.weight.data
            weight.copy_(torch.renorm(weight, 2, 0, self.settings.max_norm))

    @torch.no_grad()
    def score(self, split: str) -> Score:
        """`accuracy`, `loss`; of the test part also how many are `correct` of a `total`."""
        self.model.eval()
        texts = texts_of(self.data, split)
        order = texts.sorted(range(len(texts)))
        correct, total = 0, 0.0
        at_once = min(EVALUATED_AT_ONCE, max(1, TOKENS_AT_ONCE // math.prod(self.data.shape)))
        for first in range(0, len(order), at_once):
            places = order[first : first + at_once]
            tokens, labels = (one.to(self.device) for one in texts.take(places))
            logits = self.model(tokens).float()
            correct += int((logits.argmax(1) == labels).sum())
            total += float(functional.cross_entropy(logits, labels, reduction="sum"))
        metrics = {"accuracy": correct / len(texts), "loss": total / len(texts)}
        if split == "test":
            counts = {"correct": float(correct), "total": float(len(texts))}
            return Score({**metrics, **counts}, self._answers(texts))
        return Score(metrics, exhibits=self._attention(texts))

    def _answers(self, texts: Texts) -> dict[str, Tensor]:
        """A few inputs and their logits, computed on the CPU, where an export is compared with them."""
        tokens, _ = texts.take(range(min(ANSWERED, len(texts))), self.data.shape)
        return {"input/tokens": tokens, "output/logits": copy.deepcopy(self.model).cpu().eval()(tokens).clone()}

    def _attention(self, texts: Texts) -> dict[str, bytes]:
        """Where the network looks in the first few texts that are narrow enough to be shown."""
        attend = getattr(self.model, "attention", None)
        narrow = (place for place, size in enumerate(texts.sizes) if 0 < size[-1] <= WIDEST)
        shown = [place for place, _ in zip(narrow, range(SHOWN), strict=False)]
        if not callable(attend) or isinstance(attend, nn.Module):
            return {}
        found = {}
        for number, place in enumerate(shown, 1):
            tokens, labels = texts.take([place])
            weights = attend(tokens.to(self.device))[0].float().cpu()
            said = self.data.classes[int(self.model(tokens.to(self.device))[0].argmax())]
            found[f"attention_{number}.json"] = self._map(tokens[0], weights, self.data.classes[int(labels[0])], said)
        return found

    def _map(self, tokens: Tensor, weights: Tensor, label: str, said: str) -> bytes:
        """One row under the words of a text; of a document a row per sentence, under the places of its words."""
        words = self.data.vocabulary.decode(tokens.reshape(-1).tolist())
        title = f"{label}, taken for {said}" if label != said else label
        if tokens.dim() == 1:
            return exhibits.attention([title], words, [weights.tolist()])
        width = tokens.shape[1]
        rows = [
            " ".join(words[first : first + width][: int((tokens[row] != 0).sum())])
            for row, first in enumerate(range(0, len(words), width))
        ]
        return exhibits.attention(
            [f"{title}: {rows[0]}", *rows[1:]], [str(place) for place in range(1, width + 1)], weights.tolist()
        )


def texts_of(data: TextData, split: str) -> Texts:
    """One part of `data` as tensors; made once per process, for all children."""
    if split not in data.kept:
        data.kept[split] = Texts(data.part(split), documents=len(data.shape) == 2)
    kept: Texts = data.kept[split]
    return kept


def classifier_of(model: nn.Module) -> nn.Linear | None:
    """The layer that gives the logits: the attribute `classifier`, else the last linear layer, if there is one."""
    named = getattr(model, "classifier", None)
    if isinstance(named, nn.Linear):
        return named
    return next((one for one in reversed(list(model.modules())) if isinstance(one, nn.Linear)), None)
