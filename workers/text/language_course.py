"""LanguageCourse: the training of a language model by truncated backpropagation through time."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, final

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.hooks import RemovableHandle

from workers.course import Score
from workers.errors import DivergedError, UserError
from workers.seeds import derived
from workers.supervised import Supervised
from workers.task import State
from workers.text.corpus import CHARACTERS, Corpus, require_tokens, text_of
from workers.text.reading import Carried, Streams, continued, mean_loss, next_step, read, windows
from workers.trial import Trial

if TYPE_CHECKING:
    from workers.tasks.language_model import LanguageModel

HOPELESS = 2  # times the loss of guessing evenly; 40 times that was seen
ANSWERED = 8  # inputs, whose outputs prove an export
PROMPT = 40  # tokens that a sample goes on from
NARROW = 14  # of random lengths the deviation is a 14th: 5 at 70 steps, as published


@final
class LanguageCourse(Supervised[tuple[int, int]]):
    """A batch is a window of all streams, from one place to another; the state is carried on, without its gradients."""

    def __init__(
        self,
        recipe: LanguageModel,
        corpus: Corpus,
        model: nn.Module,
        trial: Trial,
        device: torch.device,
        state: State | None,
    ) -> None:
        super().__init__(recipe, model, trial, device, state)
        self.language, self.corpus = recipe, corpus
        self.carried: Carried = ()
        self.last_layer: Tensor | None = None  # what the logits were read from, where that is penalised

    @cached_property
    def streams(self) -> Streams:
        """The training part, with as many streams side by side as a batch has."""
        require_tokens(self.corpus, "batch_size", self.language.batch_size)
        return Streams(self.corpus.train, self.language.batch_size, self.device, whole=False)

    def epoch(self, number: int) -> Mapping[str, float]:
        with self._watched():
            return super().epoch(number)

    def batches(self, epoch: int, generator: torch.Generator) -> Sequence[tuple[int, int]]:
        """Windows of `steps`, or of random lengths: around `steps` 19 times in 20, else around half of that."""
        self.carried = ()
        length, steps = self.streams.length, self.language.steps
        count = math.ceil(length / steps)
        if not self.language.random_steps:
            return windows(length, [steps] * count)
        rare = torch.rand(4 * count, generator=generator) < 0.05
        drawn = (
            torch.where(rare, steps / 2, float(steps)) + torch.randn(4 * count, generator=generator) * steps / NARROW
        )
        return windows(length, [*drawn.round().long().clamp(min=1).tolist(), length])

    def loss(self, batch: tuple[int, int], generator: torch.Generator) -> tuple[Tensor, int]:
        recipe, (start, stop) = self.language, batch
        inputs, targets = self.streams.window(start, stop)
        logits, state = read(self.model, inputs, self.carried)
        self.carried = tuple(one.detach() for one in state)
        if recipe.random_steps:
            for group in self.optimizer.param_groups:
                group["lr"] *= (stop - start) / recipe.steps
        loss = functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())
        if self.last_layer is not None:
            loss = loss + penalty(self.last_layer, recipe.activation_penalty, recipe.temporal_penalty)
        return loss, targets.numel()

    def score(self, split: str) -> Score:
        """Every token of the part but the first is foreseen once, from those before it in its stream."""
        recipe, numbers = self.language, self.corpus.part(split)
        self.model.eval()
        loss = mean_loss(self.model, Streams(numbers, recipe.evaluation_streams, self.device, whole=True), recipe.steps)
        evenly = math.log(len(self.corpus.vocabulary))
        if loss > HOPELESS * evenly and split == "validation":
            raise DivergedError(
                f"the loss is {loss:.3g} nats per token, where guessing evenly has {evenly:.3g}: training diverged; "
                "a lower learning rate may help"
            )
        metrics = {"loss": loss, **derived_metrics(loss, recipe.unit)}
        exhibits = {"samples.txt": self.sample().encode()} if recipe.sample_tokens and math.isfinite(loss) else {}
        return Score(metrics, self._answers() if split == "test" else {}, exhibits)

    def sample(self) -> str:
        """How the model goes on with the beginning of the validation part."""
        recipe, vocabulary = self.language, self.corpus.vocabulary
        prompt = self.corpus.validation[:PROMPT].tolist()
        generator = torch.Generator().manual_seed(derived(self.trial.seed, "samples"))
        self.model.eval()
        further = continued(self.model, prompt, recipe.sample_tokens, recipe.temperature, generator, recipe.steps)
        begun, drawn = (text_of(vocabulary.decode(numbers), recipe.unit) for numbers in (prompt, further))
        return f"[given]\n{begun}\n\n[drawn at temperature {recipe.temperature:g}]\n{drawn}\n"

    @torch.no_grad()
    def _answers(self) -> dict[str, Tensor]:
        """Tokens in the middle of the test part, the states before them, and what comes out; on the CPU."""
        model = copy.deepcopy(self.model).cpu().float().eval()
        inputs = next_step(model, self.corpus.test, ANSWERED, self.language.steps)
        logits, state = read(model, inputs[0], inputs[1:])
        given = {f"input/{name}": one for name, one in zip(input_names(len(state)), inputs, strict=True)}
        return given | {f"output/{n}": one for n, one in zip(output_names(len(state)), (logits, *state), strict=True)}

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Keep what the logits are read from, while it is penalised."""
        if not (self.language.activation_penalty or self.language.temporal_penalty):
            yield
            return
        hook = watch_last_layer(self.model, len(self.corpus.vocabulary), lambda seen: setattr(self, "last_layer", seen))
        try:
            yield
        finally:
            hook.remove()
            self.last_layer = None


def derived_metrics(loss: float, unit: str) -> dict[str, float]:
    """What a mean cross entropy in nats is called: bits per character, or the perplexity per word."""
    if unit == CHARACTERS:
        return {"bits_per_character": loss / math.log(2)}
    return {"perplexity": math.exp(loss) if loss < 700 else math.inf}  # more than a number can hold


def penalty(last_layer: Tensor, activation: float, temporal: float) -> Tensor:
    """`activation` times the mean square of (batch, steps, size), and `temporal` times that of its steps' changes."""
    total = activation * last_layer.pow(2).mean()
    if last_layer.shape[1] > 1:
        total = total + temporal * (last_layer[:, 1:] - last_layer[:, :-1]).pow(2).mean()
    return total


def watch_last_layer(model: nn.Module, known: int, keep: Callable[[Tensor], None]) -> RemovableHandle:
    """Have `keep` called with what the logits are read from, whenever `model` computes them, until this is removed.

    That is what the network's `projection` gives, where it has one (tied embeddings are no layer of their own), else
    what its last linear layer with `known` outputs reads.
    """
    projection = getattr(model, "projection", None)
    if isinstance(projection, nn.Module):
        return projection.register_forward_hook(lambda module, inputs, output: keep(output))
    layers = [module for module in model.modules() if isinstance(module, nn.Linear) and module.out_features == known]
    if not layers:
        raise UserError(
            f"{type(model).__name__} has neither a projection nor a linear layer with {known} outputs, whose inputs "
            "could be penalised: set activation_penalty and temporal_penalty to 0"
        )
    return layers[-1].register_forward_pre_hook(lambda module, inputs: keep(inputs[0]))


def input_names(states: int) -> tuple[str, ...]:
    """What the inputs of one step are called."""
    return ("tokens", *(f"state{place}" for place in range(states)))


def output_names(states: int) -> tuple[str, ...]:
    """What the outputs of one step are called."""
    return ("logits", *(f"new_state{place}" for place in range(states)))
