"""Generate images like those of a data set: a generator trained against a discriminator, judged by FID."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, final

from search_spaces.decisions import Candidate
from search_spaces.space import Blueprint, Signature
from workers.errors import UserError
from workers.generation.features import FEATURES
from workers.generation.recipe import GenerationRecipe
from workers.image_data import Division
from workers.image_options import ImageOptions
from workers.objectives import Direction, Objective
from workers.task import Deployed, Epoch, State, Task
from workers.trial import Json, Trial

if TYPE_CHECKING:
    import torch
    from torch import nn

    from workers.generation.evaluation import Evaluation


@final
@dataclass(frozen=True, kw_only=True)
class ImageGeneration(ImageOptions, GenerationRecipe, Task):
    """Options: those of the recipe, which images, and what goes into a generator.

    `noise` numbers, `normal` or `uniform` in [-1, 1] by `distribution`, and, where it is `conditional`, a class.
    Figures are those of `evaluated` images, by the `features` of a `classifier` that is trained on the same data, or of
    torchvision's `inception`.
    """

    noise: int = 64
    distribution: str = "normal"
    conditional: bool = False
    evaluated: int = 1000
    features: str = "classifier"

    needs_space: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_images()
        if self.noise < 1 or self.evaluated < 10:
            raise UserError(f"noise is {self.noise} and evaluated {self.evaluated}, but at least 1 and 10 are needed")
        for name, known in (("distribution", ("normal", "uniform")), ("features", tuple(FEATURES))):
            if getattr(self, name) not in known:
                raise UserError(f"{name} is {getattr(self, name)!r}, but must be {' or '.join(known)}")

    @property
    def objectives(self) -> tuple[Objective, ...]:
        return (
            Objective("fid", Direction.MINIMIZE),
            Objective("inception_score", Direction.MAXIMIZE),
            Objective("precision", Direction.MAXIMIZE),
            Objective("recall", Direction.MAXIMIZE),
        )

    @property
    def measured(self) -> str:
        return (
            f"FID, inception score, precision and recall are by the features of {FEATURES[self.features]}. "
            "Beside them stand FIDs of real images (real) and of even noise (noise), and the score of real images."
        )

    @cached_property
    def signature(self) -> Signature:
        """Noise `(noise,)`, and, where it is conditional, a label in; an image `(channels, height, width)` out."""
        inputs: dict[str, tuple[int, ...]] = {"noise": (self.noise,)}
        outputs = {"image": self.image_shape}
        if not self.conditional:
            return Signature("image_generation", inputs, outputs)
        return Signature("image_generation", {**inputs, "label": ()}, outputs, {"label": self.classes})

    @property
    def preprocessing(self) -> Mapping[str, Json]:
        """What noise is, and what the numbers of an image mean."""
        said: dict[str, Json] = {
            "noise": "even from -1 to 1" if self.distribution == "uniform" else "normal, mean 0, deviation 1",
            "image": "from -1 to 1; its pixels are (image + 1) * 127.5",
        }
        return {**said, "label": list(self.images.classes)} if self.conditional else said

    @property
    def classes(self) -> int:
        """How many classes the data set has; looks at data of which that is unknown."""
        return len(self.images.classes) if self.source.classes is None else self.source.classes

    def prepare(self) -> None:
        """Load the data, and train the classifier where it is not kept yet: no trial's time."""
        self._evaluation()

    def train(self, model: nn.Module | None, trial: Trial, state: State | None) -> Iterator[Epoch]:
        """Metrics `fid`, `inception_score`, `precision`, `recall` of the validation part, `test_fid`, ... of the test.

        Beside them their scale: `fid_real` is that of training images, `fid_noise` of even noise,
        `inception_score_real` of training images; and of training `generator_loss`, `discriminator_loss`, `variety`.
        """
        from workers.course import follow
        from workers.generation.course import AdversarialCourse

        if model is None:
            raise UserError(
                "image_generation trains networks of a search space, but the job names none: add `space: gan`"
            )
        recipe = self.closed(trial.candidate)
        yield from follow(AdversarialCourse(recipe, model, self._evaluation(), trial, state), trial, state)

    def _evaluation(self) -> Evaluation:
        from workers.device import device_of
        from workers.generation.evaluation import Evaluation
        from workers.generation.latent import Latent
        from workers.generation.reference import yardstick_of

        device, kept = device_of(self.device), self.images.kept
        key = ("yardstick", self.features, device)
        if key not in kept:
            division = Division(self.split_seed, self.validation, self.test)
            kept[key] = yardstick_of(self.features, self.source, division, device)
        latent = Latent(self.noise, self.distribution == "uniform", self.classes if self.conditional else None)
        return Evaluation(self.images, kept[key], latent, device, self.evaluated)

    def part(self, blueprint: Blueprint) -> tuple[Blueprint, str]:
        """The generator, out of a pair whose arguments name it as a blueprint of its own."""
        generator = blueprint.arguments.get("generator")
        if not isinstance(generator, Mapping) or "network" not in generator:
            return blueprint, ""
        return Blueprint(**generator), "generator."

    def deployable(self, model: nn.Module, candidate: Candidate) -> Mapping[str, Deployed]:
        """The generator in evaluation mode, with two noises, and labels where it is conditional."""
        return {
            "model": Deployed(
                model.get_submodule("generator").eval(), self._inputs(), tuple(self.signature.inputs), ("image",)
            )
        }

    def _inputs(self) -> tuple[torch.Tensor, ...]:
        import torch

        from search_spaces.inputs import noise

        return noise(self.signature, 2, torch.Generator().manual_seed(0))
