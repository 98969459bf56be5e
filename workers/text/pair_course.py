"""PairCourse: the training of a network that writes texts, and what its texts are worth."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from workers.course import Score
from workers.exhibits import attention
from workers.supervised import Supervised
from workers.task import State
from workers.text.beam import Beam, Carried, Ranking, Scorer, search
from workers.text.exported_language import ExportedLanguage
from workers.text.halves import Reader, unfit, writing
from workers.text.ngram import NGram
from workers.text.pair_batches import PairBatch, padded, tensors_of
from workers.text.pair_data import BEGUN, ENDED, PADDED, PairData
from workers.text.pair_recipe import PairRecipe, sampled_share
from workers.trial import Trial

JUDGED = 256  # texts that are scored side by side
SHOWN = 20  # texts of which people see what was written
WIDEST = 60  # tokens on each side of an attention map
KEPT = 8  # examples that are kept of the test part


@final
@dataclass(frozen=True)
class Writing:
    """How texts are written when a network is scored.

    `beam` hypotheses are kept (1: greedy), and ranked by `penalty` and a language model with `weight`: the one that is
    given, else n-grams of `order` tokens.
    """

    beam: int = 1
    penalty: float = 0.0
    weight: float = 0.0
    order: int = 3
    bucketing: int = 16
    language: ExportedLanguage | None = None


@final
class PairCourse(Supervised[PairBatch]):
    """One network that learns from pairs of texts: it reads the right tokens as it writes, or in part its own."""

    def __init__(
        self,
        recipe: PairRecipe,
        how: Writing,
        data: PairData,
        model: nn.Module,
        trial: Trial,
        device: torch.device,
        state: State | None,
    ) -> None:
        self.network = writing(model)
        super().__init__(recipe, model, trial, device, state)
        self.settings, self.how, self.data, self.own = recipe, how, data, 0.0
        scorer = _scorer(data, how) if how.beam > 1 and how.weight else None
        self.ranking = Ranking(how.penalty, scorer, how.weight)

    def batches(self, epoch: int, generator: torch.Generator) -> Sequence[PairBatch]:
        self.own = sampled_share(self.settings, epoch, max(self.trial.horizon, self.trial.epochs))
        pairs = tensors_of(self.data, "train")
        drawn = pairs.drawn(self.recipe.batch_size, self.how.bucketing, generator)
        return [pairs.take(places, self.device) for places in drawn]

    def loss(self, batch: PairBatch, generator: torch.Generator) -> tuple[Tensor, int]:
        if self.own:
            logits = self.unrolled(batch, self.own, generator)
        else:
            logits = self.network(batch.source, batch.given)
        smoothing = self.settings.label_smoothing
        mean = functional.cross_entropy(
            logits.flatten(0, 1), batch.wanted.flatten(), ignore_index=PADDED, label_smoothing=smoothing
        )
        return mean, batch.tokens

    def unrolled(self, batch: PairBatch, own: float, generator: torch.Generator) -> Tensor:
        """Logits (batch, steps, vocabulary), written step by step; each reads, with probability `own`, the last's."""
        network, token, logits = self.network, batch.given[:, 0], []
        carried = network.encode(batch.source)
        for place in range(batch.given.shape[1]):
            written = network.decode(token[:, None], batch.source, carried)
            carried = (*written.state, *carried[network.state_count :])
            logits.append(written.logits[:, 0])
            if place + 1 < batch.given.shape[1]:
                drawn = torch.rand(len(token), generator=generator).to(self.device) < own
                token = torch.where(drawn, logits[-1].argmax(1), batch.given[:, place + 1])
        return torch.stack(logits, 1)

    @torch.no_grad()
    def score(self, split: str) -> Score:
        """The metrics of what is written; the loss alone of a network that diverged, which can write nothing."""
        self.model.eval()
        pairs, part = tensors_of(self.data, split), self.data.part(split)
        losses, right, tokens, outputs = 0.0, 0, 0, [""] * len(pairs)
        for places in pairs.ordered(JUDGED):
            batch = pairs.take(places, self.device)
            logits, wanted = self.network(batch.source, batch.given).flatten(0, 1), batch.wanted.flatten()
            losses += float(functional.cross_entropy(logits, wanted, ignore_index=PADDED, reduction="sum"))
            if not math.isfinite(losses):
                return Score({"loss": losses})
            right += int(((logits.argmax(1) == wanted) & (wanted != PADDED)).sum())
            tokens += batch.tokens
            for place, numbers in zip(places, self.written(batch.source), strict=True):
                outputs[place] = self.data.text(numbers)
        exact = sum(output == wanted for output, wanted in zip(outputs, part.wanted, strict=True))
        metrics = {
            "exact": exact / len(outputs),
            "token_accuracy": right / tokens,
            "bleu": bleu(outputs, part.wanted, self.data.spelling.unit),
            "loss": losses / tokens,
        }
        counted = {"correct": float(exact), "total": float(len(outputs))} if split == "test" else {}
        examples = self._answers(split) if split == "test" else {}
        return Score(metrics | counted, examples, self._exhibits(split, outputs))

    def written(self, source: Tensor) -> list[tuple[int, ...]]:
        """What the network writes for each text (batch, length), as `Writing` says."""
        network, count = self.network, self.network.state_count
        never = unfit(len(self.data.vocabulary), (PADDED, BEGUN), self.device)

        def step(tokens: Tensor, state: Carried, fixed: Carried) -> tuple[Tensor, Carried]:
            made = network.decode(tokens[:, None], fixed[0], (*state, *fixed[1:]))
            return (made.logits[:, 0] + never).log_softmax(1), made.state

        carried = network.encode(source)
        beam = Beam(self.how.beam, self.data.shape[1], BEGUN, ENDED)
        found = search(step, carried[:count], (source, *carried[count:]), beam)
        return [self.ranking.best(hypotheses).tokens for hypotheses in found]

    def _answers(self, split: str) -> dict[str, Tensor]:
        """What the half that reads gives for the first texts, as it is handed over: on the CPU."""
        source = first_sources(self.data, split, KEPT)
        given = Reader(copy.deepcopy(self.model).cpu().eval())(source)
        named = {f"output/{name}": one for name, one in zip(self.network.carries, given, strict=True)}
        return {"input/source": source, **named}

    def _exhibits(self, split: str, outputs: Sequence[str]) -> dict[str, bytes]:
        """What was written for some texts, and where the network looked while it wrote for the first."""
        part, data = self.data.part(split), self.data
        lines = []
        for place in range(min(SHOWN, len(part))):
            verdict = "right" if outputs[place] == part.wanted[place] else f"wrong, it is {part.wanted[place]}"
            lines.append(f"{data.text(part.sources[place])}  ->  {outputs[place]}  ({verdict})")
        shown = {"samples.txt": "\n".join(lines).encode()}
        source = torch.tensor([part.sources[0]], device=self.device)
        numbers = self.written(source)[0]
        given = torch.tensor([(BEGUN, *numbers[:-1])], device=self.device)
        weights = self.network.decode(given, source, self.network.encode(source)).weights
        if weights is None:
            return shown
        rows, columns = (data.vocabulary.decode(one[:WIDEST]) for one in (numbers, part.sources[0]))
        return shown | {"attention.json": attention(rows, columns, weights[0, :WIDEST, :WIDEST].tolist())}


def bleu(outputs: Sequence[str], wanted: Sequence[str], unit: str) -> float:
    """Corpus BLEU (Papineni et al. 2002) from 0 to 100, through sacrebleu: of characters, or of words as `13a` cuts."""
    from sacrebleu.metrics.bleu import BLEU

    tokenizer = "char" if unit == "characters" else "13a"
    return float(BLEU(tokenize=tokenizer, force=True).corpus_score(list(outputs), [list(wanted)]).score)


def first_sources(data: PairData, split: str, count: int) -> Tensor:
    """The first `count` texts to read (count, length), padded to the length of the longest of all parts."""
    sources = data.part(split).sources
    return padded([torch.tensor(sources[place % len(sources)]) for place in range(count)], data.shape[0])


def _scorer(data: PairData, how: Writing) -> Scorer:
    """The language model that is given, which has a vocabulary of its own; else one that is counted."""
    language, known = how.language, data.vocabulary
    if language is None:
        return _counted(data, how.order)
    return lambda numbers: language.log_probability(
        known.decode(one for one in numbers if one != ENDED), ended=ENDED in numbers
    )


def _counted(data: PairData, order: int) -> NGram:
    """The language model of what is written in the training part."""
    key = f"{order}-gram"
    if key not in data.kept:
        texts = ((*target, ENDED) for target in data.train.targets)
        data.kept[key] = NGram(texts, order, len(data.vocabulary), BEGUN)
    kept: NGram = data.kept[key]
    return kept
