"""What a person may look at of a generator: samples, nearest training images, ways between noises, missing modes."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from workers.exhibits import picture
from workers.generation.evaluation import Evaluation, Generated
from workers.generation.latent import given
from workers.generation.neighbours import nearest_rows
from workers.seeds import derived

ANSWERED = 8  # inputs, whose outputs prove an export
ACROSS = 8
BYTES = 150_000  # of the pixels of one picture, before it is compressed
SIDE = 64  # small images are shown larger
MISSING = 0.1  # of a class's share among real images


def samples(evaluation: Evaluation, generator: nn.Module, seed: int) -> bytes:
    """Images of noise that is the same after every epoch; with classes, one column for each, one row for each noise."""
    across = min(10, evaluation.latent.classes or ACROSS)
    down = _rows(evaluation, across)
    drawn = torch.Generator().manual_seed(derived(seed, "samples"))
    if evaluation.latent.classes is None:
        return _picture(evaluation.images(generator, evaluation.latent.noise(down * across, drawn)), across)
    noise = evaluation.latent.noise(down, drawn).repeat_interleave(across, 0)
    return _picture(evaluation.images(generator, noise, torch.arange(across).repeat(down)), across)


def closing_exhibits(
    evaluation: Evaluation, generator: nn.Module, generated: Generated, figures: Mapping[str, float]
) -> dict[str, bytes]:
    """What is shown once, at the end of a schedule."""
    shown = {"neighbours.png": neighbours(evaluation, generated), "modes.txt": modes(evaluation, generated, figures)}
    shown["interpolation.png"] = interpolation(evaluation, generator, generated)
    if evaluation.latent.classes is None and (drawn := arithmetic(evaluation, generator, generated)) is not None:
        shown["arithmetic.png"] = drawn
    return shown


def neighbours(evaluation: Evaluation, generated: Generated) -> bytes:
    """Each row: a generated image, and the training images nearest to it in the features, the nearest first."""
    down = _rows(evaluation, ACROSS)
    features, _ = evaluation.yardstick.features(generated.images[:down])
    known = evaluation.neighbourhood
    places = nearest_rows(features, known.features, min(ACROSS - 1, len(known.features)))
    rows = zip(generated.images[:down].cpu(), known.images[places], strict=True)
    return _picture(torch.cat([torch.cat([image[None], near]) for image, near in rows]), 1 + places.shape[1])


def interpolation(evaluation: Evaluation, generator: nn.Module, generated: Generated) -> bytes:
    """Each row: what lies on the way from one noise to another; with classes, of that of the first."""
    down = min(_rows(evaluation, ACROSS), len(generated.noise) // 2, 6)
    starts, ends = generated.noise[: 2 * down : 2], generated.noise[1 : 2 * down : 2]
    ways = [evaluation.latent.between(*both, ACROSS) for both in zip(starts, ends, strict=True)]
    labels = None if generated.labels is None else generated.labels[: 2 * down : 2].repeat_interleave(ACROSS)
    return _picture(evaluation.images(generator, torch.cat(ways), labels), ACROSS)


def arithmetic(evaluation: Evaluation, generator: nn.Module, generated: Generated) -> bytes | None:
    """Each row: images of one class, and of the same noise plus another class's mean noise minus their own.

    Means of noise as in Radford et al., ICLR 2016, section 6.3.2; classes as the classifier sees them. None where
    fewer than two classes are generated three times.
    """
    found = evaluation.yardstick.classes(generated.images)
    groups = [generated.noise[found == label] for label in range(len(evaluation.data.classes))]
    groups = [group for group in groups if len(group) >= 3]
    if len(groups) < 2:
        return None
    half, down = ACROSS // 2, min(_rows(evaluation, ACROSS), len(groups))
    rows = []
    for own, other in list(zip(groups, groups[1:] + groups[:1], strict=True))[:down]:
        first = own[torch.arange(half) % len(own)]
        rows += [first, first + other.mean(0) - own.mean(0)]
    return _picture(evaluation.images(generator, torch.cat(rows)), ACROSS)


def modes(evaluation: Evaluation, generated: Generated, figures: Mapping[str, float]) -> bytes:
    """The figures with what they were measured by, and each class's share among generated and among real images."""
    seen, real = evaluation.shares(generated.images), _real_shares(evaluation)
    lines = [
        f"FID {figures['fid']:.2f} (real against real {figures['fid_real']:.2f}, noise {figures['fid_noise']:.1f}), "
        f"inception score {figures['inception_score']:.2f} (real {figures['inception_score_real']:.2f}), "
        f"precision {figures['precision']:.1%}, recall {figures['recall']:.1%}",
        f"by the features of {evaluation.yardstick.title}; {len(generated.images)} generated images",
        "",
        f"{'class':<20} generated   real",
    ]
    for name, share, usual in zip(evaluation.data.classes, seen.tolist(), real.tolist(), strict=True):
        missing = "   missing" if share < MISSING * usual else ""
        lines.append(f"{name[:20]:<20} {share:>9.1%} {usual:>6.1%}{missing}")
    return "\n".join(lines).encode()


def examples_of(evaluation: Evaluation, generator: nn.Module, seed: int) -> Mapping[str, Tensor]:
    """Inputs and outputs that prove an export, computed on the CPU."""
    drawn = torch.Generator().manual_seed(derived(seed, "examples"))
    noise, classes = evaluation.latent.noise(ANSWERED, drawn), evaluation.latent.classes
    labels = None if classes is None else torch.arange(ANSWERED) % classes
    with torch.no_grad():
        image = copy.deepcopy(generator).cpu().eval()(*given(noise, labels))
    inputs = {"input/noise": noise} if labels is None else {"input/noise": noise, "input/label": labels}
    return {**inputs, "output/image": image}


def _real_shares(evaluation: Evaluation) -> Tensor:
    part = evaluation.data.train
    labels = torch.from_numpy(part.labels[part.rows])
    return torch.bincount(labels, minlength=len(evaluation.data.classes)).double() / len(labels)


def _rows(evaluation: Evaluation, across: int) -> int:
    """So many rows that a picture stays small."""
    channels, height, width = evaluation.data.shape
    return max(1, min(8, BYTES // (across * channels * height * width)))


def _picture(images: Tensor, across: int) -> bytes:
    scale = max(1, SIDE // max(images.shape[2:]))
    return picture(list(torch.split(images / 2 + 0.5, across)), scale=scale)
