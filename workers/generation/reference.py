"""Reference: what real images and noise look like to an extractor, so that figures of generated ones have a scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from workers.generation.classifier import classifier_of
from workers.generation.extractor import Extractor, seen
from workers.generation.features import FEATURES
from workers.generation.fidelity import frechet_distance, inception_score
from workers.generation.inception import inception
from workers.generation.neighbours import precision_and_recall
from workers.image_data import Division, ImageData
from workers.image_source import Source
from workers.light import Light, light_of
from workers.seeds import derived

TRAINING = 5_000  # images of the training part that a generated one's neighbours are looked for among


@final
@dataclass(frozen=True)
class Yardstick:
    """What images are judged by: `extractor` gives features, `classifier` says which class an image is of."""

    name: str
    extractor: Extractor
    classifier: Extractor

    @property
    def title(self) -> str:
        """What a person calls the extractor."""
        return FEATURES[self.name]

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features and logits, on the CPU, of images of 256 levels, as real ones are."""
        return seen(self.extractor, levelled(images))

    def classes(self, images: Tensor) -> Tensor:
        """The class of each image, on the CPU."""
        return seen(self.classifier, levelled(images))[1].argmax(1)


@final
@dataclass(frozen=True)
class Reference:
    """Features of real images of one part, `figures` of the scale, and shares of the classes (classes,).

    `fid_real` is that of training images against the part, `fid_noise` of even noise. `count` images of each kind, or
    all where a part has fewer.
    """

    count: int
    features: Tensor
    shares: Tensor
    figures: Mapping[str, float]

    def judged(self, features: Tensor, logits: Tensor) -> dict[str, float]:
        """The figures of generated images beside those of the scale."""
        precision, recall = precision_and_recall(self.features, features)
        found = {"fid": frechet_distance(self.features, features), "inception_score": inception_score(logits)}
        return {**found, "precision": precision, "recall": recall, **self.figures}


@final
@dataclass(frozen=True)
class Neighbourhood:
    """Training images (count, channels, height, width) in [-1, 1], on the CPU, and their features."""

    images: Tensor
    features: Tensor


def levelled(images: Tensor) -> Tensor:
    """Images in [-1, 1] with 256 levels."""
    return ((images.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1


def yardstick_of(features: str, source: Source, division: Division, device: torch.device) -> Yardstick:
    """The extractor called `features`, and the classifier beside it."""
    classifier = classifier_of(source, division).to(device)
    extractor: Extractor = classifier if features == "classifier" else inception().to(device)
    return Yardstick(features, extractor, classifier)


def reference_of(data: ImageData, split: str, yardstick: Yardstick, count: int) -> Reference:
    """The scale of one part; some hundred milliseconds for a thousand images, so kept by whoever asks."""
    device = next(yardstick.classifier.parameters()).device
    part, training = light_of(data, split, device), light_of(data, "train", device)
    count = min(count, len(training))
    real = some(part, count, derived(0, "reference", split))
    known, logits = yardstick.features(some(training, count, derived(0, "reference", "train"))[0])
    generator = torch.Generator().manual_seed(derived(0, "reference", "noise"))
    noise = torch.rand(count, *data.shape, generator=generator).to(device) * 2 - 1
    features, _ = yardstick.features(real[0])
    figures = {
        "fid_real": frechet_distance(features, known),
        "fid_noise": frechet_distance(features, yardstick.features(noise)[0]),
        "inception_score_real": inception_score(logits),
    }
    shares = torch.bincount(real[1].cpu(), minlength=len(data.classes)).double() / len(real[1])
    return Reference(count, features, shares, figures)


def neighbourhood_of(data: ImageData, yardstick: Yardstick) -> Neighbourhood:
    """Training images among which the nearest are looked for."""
    device = next(yardstick.classifier.parameters()).device
    images, _ = some(light_of(data, "train", device), TRAINING, derived(0, "neighbourhood"))
    return Neighbourhood(images.cpu(), yardstick.features(images)[0])


def some(light: Light, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """At most `count` images of a part in [-1, 1], and their classes, drawn by `seed`."""
    places = torch.randperm(len(light), generator=torch.Generator().manual_seed(seed))[:count]
    return light.take(places) * 2 - 1, light.named(places)
