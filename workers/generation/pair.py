"""Pair: a generator and a discriminator with what steps them, and all that must be kept of both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import final

from torch import Tensor, nn
from torch.optim import Optimizer

from workers.errors import UserError
from workers.generation.averaging import Averaged
from workers.generation.recipe import GenerationRecipe
from workers.optimization import add_l1, optimizer, optimizer_tensors, rate_factor, restore_optimizer
from workers.supervised import model_tensors, under

AVERAGED = "model/generator."


@final
class Pair:
    """Both networks of `model`, which has them as `generator` and `discriminator`, each with its optimizer.

    With averaging, what a state calls the model's generator is the averaged one, which is what is handed over; the
    one being trained stands there as `generator/`.
    """

    def __init__(self, recipe: GenerationRecipe, model: nn.Module, kept: Mapping[str, Tensor] | None) -> None:
        self.recipe, self.model = recipe, model
        self.generator, self.discriminator = (_part(model, name) for name in ("generator", "discriminator"))
        if kept is not None:
            model.load_state_dict(under("model/", kept))
        self.averaged = Averaged(self.generator, recipe.averaging) if recipe.averaging else None
        if kept is not None and self.averaged is not None:
            self.generator.load_state_dict(under("generator/", kept))
        self.steps_generator, self.steps_discriminator = (
            _optimizer(recipe, network) for network in (self.generator, self.discriminator)
        )
        for name, chosen in self._optimizers().items():
            if kept is not None and (moments := under(f"{name}_optimizer/", kept)):
                restore_optimizer(chosen, moments)

    def _optimizers(self) -> dict[str, Optimizer]:
        return {"generator": self.steps_generator, "discriminator": self.steps_discriminator}

    @property
    def deployed(self) -> nn.Module:
        """The generator that is judged and handed over."""
        return self.generator if self.averaged is None else self.averaged.network

    def pace(self, place: float) -> None:
        """Set both learning rates for `place` (0 to 1) of the schedule."""
        rate = self.recipe.learning_rate * rate_factor(self.recipe, place)
        for chosen, factor in ((self.steps_generator, 1.0), (self.steps_discriminator, self.recipe.discriminator_rate)):
            for group in chosen.param_groups:
                group["lr"] = rate * factor

    def step_discriminator(self, loss: Tensor) -> None:
        """Step the discriminator on the gradients of `loss`."""
        self._step(self.discriminator, self.steps_discriminator, loss)

    def step_generator(self, loss: Tensor) -> None:
        """Step the generator on the gradients of `loss`, and what follows it."""
        self._step(self.generator, self.steps_generator, loss)
        if self.averaged is not None:
            self.averaged.follow(self.generator)

    def _step(self, network: nn.Module, chosen: Optimizer, loss: Tensor) -> None:
        weights = [weight for weight in network.parameters() if weight.requires_grad]
        chosen.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if self.recipe.l1:
            add_l1(weights, self.recipe.l1)
        if self.recipe.gradient_clipping:
            nn.utils.clip_grad_norm_(weights, self.recipe.gradient_clipping)
        chosen.step()

    @contextmanager
    def only_generator(self) -> Iterator[None]:
        """Within it gradients pass through the discriminator, but leave none in its weights."""
        weights = [weight for weight in self.discriminator.parameters() if weight.requires_grad]
        for weight in weights:
            weight.requires_grad_(False)
        try:
            yield
        finally:
            for weight in weights:
                weight.requires_grad_(True)

    def tensors(self) -> dict[str, Tensor]:
        """Both networks and both optimizers, copied to the CPU."""
        kept = model_tensors(self.model)
        if self.averaged is not None:
            kept |= {name.replace(AVERAGED, "generator/", 1): kept[name] for name in kept if name.startswith(AVERAGED)}
            averaged = self.averaged.network.state_dict()
            kept |= {f"{AVERAGED}{name}": value.detach().cpu().clone() for name, value in averaged.items()}
        for name, chosen in self._optimizers().items():
            kept |= {f"{name}_optimizer/{key}": value for key, value in optimizer_tensors(chosen).items()}
        return kept


def _part(model: nn.Module, name: str) -> nn.Module:
    part = getattr(model, name, None)
    if not isinstance(part, nn.Module):
        raise UserError(
            f"image_generation trains a pair of networks, but {type(model).__name__} has no {name}: choose another "
            "space, such as gan, or give your network the modules generator and discriminator"
        )
    return part


def _optimizer(recipe: GenerationRecipe, network: nn.Module) -> Optimizer:
    chosen = optimizer(recipe, network.parameters())
    for group in chosen.param_groups:
        if "betas" in group:
            group["betas"] = (recipe.beta1, recipe.beta2)
    return chosen
