"""The training loop of an image classifier: all data and augmentation as tensors, its whole state in a checkpoint."""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from workers.augmentation import cutout, flip_and_crop
from workers.device import device_of
from workers.errors import DivergedError
from workers.image_data import ImageData, Part
from workers.image_recipe import ImageRecipe
from workers.image_source import Habits
from workers.optimization import add_l1, initialise, optimizer, optimizer_tensors, rate_factor, restore_optimizer
from workers.seeds import derived
from workers.task import Epoch, State
from workers.trial import Trial

EVALUATED_AT_ONCE = 500
ANSWERED = 8  # inputs, whose outputs prove an export


@final
@dataclass(frozen=True)
class Device:
    """Where tensors live, and the number formats that gain there."""

    place: torch.device
    bf16: bool
    channels_last: bool

    @classmethod
    def of(cls, name: str, recipe: ImageRecipe) -> Device:
        """`auto` is the first GPU if torch sees one; there bf16 gains, channels-last on CPUs as well.

        On a CPU, PNAS cells of 8 to 12 filters train 1.6 to 2.6 times as fast in channels-last.
        """
        place = device_of(name)
        bf16 = place.type == "cuda" and torch.cuda.is_bf16_supported() if recipe.bf16 == "auto" else bool(recipe.bf16)
        return cls(place, bf16, bool(recipe.channels_last))  # "auto" is true: it gains everywhere

    @property
    def format(self) -> torch.memory_format:
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def reduced(self) -> contextlib.AbstractContextManager[object]:
        """In 16 bits, where that gains: for what need not be exact."""
        return torch.autocast(self.place.type, torch.bfloat16) if self.bf16 else contextlib.nullcontext()


@final
class Examples:
    """One part of the data as tensors: pixels where they are mapped, or on the GPU where they fit there."""

    def __init__(self, part: Part, data: ImageData, device: Device) -> None:
        self.rows = torch.from_numpy(part.rows)
        self.pixels, self.labels = torch.from_numpy(part.pixels), torch.from_numpy(part.labels)
        if device.place.type == "cuda" and len(part) * part.pixels[0].nbytes < torch.cuda.mem_get_info()[0] // 4:
            self.pixels, self.labels = (t[self.rows].to(device.place) for t in (self.pixels, self.labels))
            self.rows = torch.arange(len(part))
        shape = (1, -1, 1, 1)
        self.device = device
        self.scale = (1 / (255 * torch.tensor(data.std))).view(shape).to(device.place)
        self.shift = (-torch.tensor(data.mean) / torch.tensor(data.std)).view(shape).to(device.place)

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels and labels of the images at `places` in this part, on the device."""
        rows = self.rows[places].to(self.pixels.device)
        place = self.device.place
        return self.pixels[rows].to(place, non_blocking=True), self.labels[rows].to(place, non_blocking=True)

    def normalised(self, pixels: Tensor) -> Tensor:
        """`pixels` as the network reads them: minus the mean, over the deviation."""
        images = torch.addcmul(self.shift, pixels.to(torch.float32), self.scale)
        return images.contiguous(memory_format=self.device.format)


def examples_of(data: ImageData, split: str, device: Device) -> Examples:
    """One part of `data` on `device`; brought there once per process, for all children."""
    if (split, device) not in data.kept:
        data.kept[split, device] = Examples(data.part(split), data, device)
    kept: Examples = data.kept[split, device]
    return kept


@final
class Training:
    """A network that is being trained, from scratch or from a state, exactly as if it had never been interrupted.

    On a CPU equal seeds give equal bits, at an equal number of threads; a GPU's kernels may add up in another order.
    """

    def __init__(self, recipe: ImageRecipe, habits: Habits, device: Device, trial: Trial) -> None:
        self.recipe, self.device, self.trial = recipe, device, trial
        self.flip = habits.flip if recipe.flip is None else recipe.flip
        self.crop = habits.crop if recipe.crop is None else recipe.crop
        self.side = habits.cutout if recipe.cutout is None else recipe.cutout

    def run(self, model: nn.Module, data: ImageData, state: State | None) -> Iterator[Epoch]:
        """Train up to epoch `trial.epochs`, yielding after each; only evaluate where nothing is left to train."""
        trial, first = self.trial, 0 if state is None else state.epoch
        chosen = self._optimizer(model, state)
        judged = examples_of(data, trial.split, self.device)
        if first >= trial.epochs:
            yield self.scored({}, model, judged)
            return
        examples = examples_of(data, "train", self.device)
        for epoch in range(first, trial.epochs):
            metrics = {"train_loss": self._train(model, chosen, examples, epoch)}
            last = epoch + 1 == trial.epochs
            after = State(epoch + 1, self._tensors(model, chosen), {"seed": trial.seed, "horizon": trial.horizon})
            if trial.split == "test" and not last:  # the test set is read once
                yield Epoch(metrics, after)
            else:
                yield self.scored(metrics, model, judged, after)

    def begin(self, model: nn.Module, state: State | None) -> None:
        """Bring `model` to the device with the weights it starts from."""
        if state is None:
            torch.manual_seed(derived(self.trial.seed, "initialiser"))
            if not self.trial.heir:
                initialise(model, self.recipe.initialiser)
        else:
            model.load_state_dict(_under("model/", state.tensors))
        if self.recipe.dropout:
            _drop_before_classifier(model, self.recipe.dropout)
        model.to(self.device.place, memory_format=self.device.format)  # type: ignore[call-overload]

    def learn(self, model: nn.Module, examples: Examples, places: Tensor, generator: torch.Generator) -> Tensor:
        """The mean loss of one batch; its gradients, as a step is to take them, are then in the parameters."""
        images, labels = self.augmented(examples, places, generator)
        model.zero_grad()
        loss = self.loss(model, images, labels)
        loss.backward()  # type: ignore[no-untyped-call]
        weights = list(model.parameters())
        if self.recipe.l1:
            add_l1(weights, self.recipe.l1)
        if self.recipe.gradient_clipping:
            nn.utils.clip_grad_norm_(weights, self.recipe.gradient_clipping)
        return loss.detach()

    def augmented(self, examples: Examples, places: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The images at `places` as a network in training sees them, and their labels."""
        pixels, labels = examples.take(places)
        pixels = flip_and_crop(pixels, self.flip, self.crop, generator)
        return cutout(examples.normalised(pixels), self.side, generator), labels

    def _optimizer(self, model: nn.Module, state: State | None) -> torch.optim.Optimizer:
        """What steps on the gradients of `model`, which begins."""
        self.begin(model, state)
        chosen = optimizer(self.recipe, model.parameters())
        if state is not None and (kept := _under("optimizer/", state.tensors)):
            restore_optimizer(chosen, kept)
        return chosen

    def _train(self, model: nn.Module, chosen: torch.optim.Optimizer, examples: Examples, epoch: int) -> float:
        """One epoch; the mean loss. All randomness comes from the trial's seed and the epoch."""
        recipe, seed, horizon = self.recipe, self.trial.seed, max(self.trial.horizon, self.trial.epochs)
        torch.manual_seed(derived(seed, "network", epoch))
        generator = torch.Generator().manual_seed(derived(seed, "augmentation", epoch))
        steps = math.ceil(len(examples) / recipe.batch_size)
        total = torch.zeros((), device=self.device.place)
        model.train()
        for step, places in enumerate(torch.randperm(len(examples), generator=generator).tensor_split(steps)):
            place = (epoch + step / steps) / horizon
            set_progress(model, place)
            for group in chosen.param_groups:
                group["lr"] = recipe.learning_rate * rate_factor(recipe, place)
            loss = self.learn(model, examples, places, generator)
            chosen.step()
            total += loss * len(places)
        mean = float(total) / len(examples)
        if not math.isfinite(mean):
            raise DivergedError(f"the training loss became {mean} in epoch {epoch + 1}: a lower learning rate may help")
        return mean

    def loss(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """The mean loss of a batch, an auxiliary head's included, as the recipe has it."""
        smoothing = self.recipe.label_smoothing
        with self.device.reduced():
            logits = model(images)
            loss = functional.cross_entropy(logits.float(), labels, label_smoothing=smoothing)
            auxiliary = getattr(model, "auxiliary_logits", None)
            if auxiliary is not None and self.recipe.auxiliary:
                further = functional.cross_entropy(auxiliary.float(), labels, label_smoothing=smoothing)
                loss = loss + self.recipe.auxiliary * further
        return loss

    def scored(
        self, metrics: Mapping[str, float], model: nn.Module, judged: Examples, state: State | None = None
    ) -> Epoch:
        """`metrics` with those of the trial's split; the test set also gives examples that prove an export."""
        on_test = self.trial.split == "test"
        correct, loss = self._evaluate(model, judged, exact=on_test)
        if not math.isfinite(loss):
            raise DivergedError(f"the loss on the {self.trial.split} part is {loss}: a lower learning rate may help")
        share = correct / len(judged)
        if not on_test:
            return Epoch({"accuracy": share, "loss": loss, **metrics}, state)
        scores = {"test_accuracy": share, "test_loss": loss, "test_correct": correct, "test_total": len(judged)}
        return Epoch({**scores, **metrics}, state, _answers(model, judged))

    @torch.no_grad()
    def _evaluate(self, model: nn.Module, judged: Examples, exact: bool) -> tuple[int, float]:
        """How many images are classified correctly, and the mean loss; `exact` stays in 32 bits throughout."""
        model.eval()
        correct = torch.zeros((), dtype=torch.int64, device=self.device.place)
        total = torch.zeros((), device=self.device.place)
        with _exact_convolutions() if exact else self.device.reduced():
            parts = math.ceil(len(judged) / EVALUATED_AT_ONCE)
            for places in torch.arange(len(judged)).tensor_split(parts):  # equal parts: some read a batch's statistics
                pixels, labels = judged.take(places)
                logits = model(judged.normalised(pixels)).float()
                correct += (logits.argmax(1) == labels).sum()
                total += functional.cross_entropy(logits, labels, reduction="sum")
        return int(correct), float(total) / len(judged)

    def _tensors(self, model: nn.Module, chosen: torch.optim.Optimizer) -> dict[str, Tensor]:
        weights = {f"model/{name}": value.detach().cpu().clone() for name, value in model.state_dict().items()}
        return weights | {f"optimizer/{name}": value for name, value in optimizer_tensors(chosen).items()}


def first_images(data: ImageData, count: int) -> Tensor:
    """The first `count` test images as a network reads them, on the CPU."""
    judged = Examples(data.test, data, Device(torch.device("cpu"), bf16=False, channels_last=False))
    return judged.normalised(judged.take(torch.arange(min(count, len(judged))))[0])


def some_images(data: ImageData, count: int, seed: int) -> Tensor:
    """At most `count` training images, drawn by `seed`, as a network reads them, on the CPU."""
    seen = Examples(data.train, data, Device(torch.device("cpu"), bf16=False, channels_last=False))
    drawn = torch.randperm(len(seen), generator=torch.Generator().manual_seed(seed))[:count]
    return seen.normalised(seen.take(drawn)[0])


@torch.no_grad()
def _answers(model: nn.Module, judged: Examples) -> dict[str, Tensor]:
    """A few inputs and their logits, computed on the CPU in 32 bits, where an export is compared with them."""
    pixels, _ = judged.take(torch.arange(min(ANSWERED, len(judged))))
    images = judged.normalised(pixels).cpu().contiguous()
    copied = copy.deepcopy(model).cpu().float().to(memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    return {"input/image": images, "output/logits": copied(images).clone()}


def _exact_convolutions() -> contextlib.AbstractContextManager[object]:
    if not torch.cuda.is_available():
        return contextlib.nullcontext()
    return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)


def _drop_before_classifier(model: nn.Module, probability: float) -> None:
    """Drop inputs of the classifier (attribute `classifier`, else the last linear layer) while training."""
    classifier = getattr(model, "classifier", None)
    if not isinstance(classifier, nn.Module):
        classifier = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]

    def drop(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (functional.dropout(inputs[0], probability, module.training), *inputs[1:])

    classifier.register_forward_pre_hook(drop)


def set_progress(model: nn.Module, place: float) -> None:
    """Tell scheduled drop path how far training is."""
    if hasattr(model, "progress"):
        model.progress = place  # type: ignore[assignment]


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
