"""The small classifier whose features judge generated images: of the same data, trained once per machine."""

from __future__ import annotations

import math
from typing import final

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn import functional

from workers.errors import DamagedError
from workers.generation.extractor import Extractor
from workers.image_data import Division, ImageData, cache_folder, load, locked, write_whole
from workers.image_source import Source, digest
from workers.light import Light

VERSION = 1  # of network and training: raised whenever figures change with them
WIDTH = 64  # features
SEEN = 12_000  # images in all, or twice the training part where that is more
BATCH = 64
RATE = 3e-3


@final
class Classifier(Extractor):
    """Four convolutions, two of stride 2, and global averages: 64 features, and logits of `classes`."""

    width = WIDTH

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs, stride in ((channels, 16, 1), (16, 32, 2), (32, 64, 2), (64, WIDTH, 1)):
            layers += [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
        self.seeing = nn.Sequential(*layers)
        self.classes = nn.Linear(WIDTH, classes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.seeing(images).mean((2, 3))
        return features, self.classes(features)


def classifier_of(source: Source, division: Division) -> Classifier:
    """The classifier of the data's whole training part under `division`, whose limits it does not heed.

    Trained by one process, while others wait, and kept in the cache; always on the CPU.
    """
    data = load(source, Division(division.seed, division.validation, division.test), cache_folder())
    name = digest(f"generation {VERSION}", source.identity(), repr((division.seed, division.validation, division.test)))
    file = cache_folder() / f"{source.name}-classifier-{name}.safetensors"
    network = Classifier(data.shape[0], len(data.classes))
    with locked(file.with_suffix(".lock")):
        if not file.is_file():
            write_whole(file, save(trained(data).state_dict()))
    try:
        network.load_state_dict(load_file(file))
    except Exception as error:
        raise DamagedError(f"{file} is no classifier's weights ({error}): delete it, and it is made again") from error
    return network.eval().requires_grad_(False)


def trained(data: ImageData) -> Classifier:
    """A classifier of the training part, from a seed of its own."""
    light = Light(data, "train", torch.device("cpu"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(VERSION)
        network = Classifier(data.shape[0], len(data.classes))
    generator = torch.Generator().manual_seed(VERSION)
    epochs = max(2, math.ceil(SEEN / len(light)))
    steps = math.ceil(len(light) / BATCH)
    chosen = torch.optim.Adam(network.parameters(), RATE, fused=True)
    course = torch.optim.lr_scheduler.OneCycleLR(chosen, RATE, total_steps=epochs * steps)
    for _ in range(epochs):
        for places in torch.randperm(len(light), generator=generator).tensor_split(steps):
            _, logits = network(light.take(places) * 2 - 1)
            chosen.zero_grad()
            functional.cross_entropy(logits, light.named(places)).backward()  # type: ignore[no-untyped-call]
            chosen.step()
            course.step()
    return network.eval()
