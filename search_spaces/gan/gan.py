"""gan: a generator and a discriminator as one candidate, in which DCGAN and the networks of AutoGAN are points.

Decisions; those of stage n = 1, 2, ... are active when `generator` is `cells` and `stages` >= n:

| name | value |
|---|---|
| `generator` | `plain`: transposed convolutions (Radford et al., ICLR 2016); `cells` (Gong et al., ICCV 2019) |
| `width` | filters of every cell; `plain`: of the map before the image, the maps before it having twice as many each |
| `discriminator` | `plain` or `cells`; only there under an `objective` of the task that needs a score |
| `discriminator_width` | a multiple of `width`; `plain`: of the first map's filters, which double from map to map |
| `discriminator_norm`, `discriminator_dropout` | `batch`, `spectral` or `none`; the probability to drop a channel |
| `discriminator_pool` | `average` or `max`: how cells halve a map |
| `stages` | how many times the first map is doubled, one of the option `stages` |
| `stage<n>_order` | `pre` or `post`: activation before or behind a convolution |
| `stage<n>_norm` | `none`, `batch` or `instance` |
| `stage<n>_upsampling` | `bilinear`, `nearest` or `transposed` |
| `stage<n>_shortcut` | whether the cell's input is added to its output |
| `stage<n>_skip<m>` | whether the inner map of stage m < n is added to this one's |

Without the decision `discriminator` it is an auto-encoder, the mirror of the plain one.
A generator of fewer stages than the largest makes smaller images, whose pixels are repeated: every discriminator sees
images of full size, so that the scores of all stages are of the same images, and can be compared.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

from search_spaces.decision import Choice, Decision, DecisionError, Value, When
from search_spaces.decisions import Candidate, Decisions
from search_spaces.gan.gan_counts import generated, judged
from search_spaces.gan.gan_graphs import graphs
from search_spaces.gan.objectives import SCORES
from search_spaces.gan.options import named, rising
from search_spaces.space import Blueprint, Description, Signature, Space, UnfitError, require

KINDS = ("plain", "cells")
NORMS = ("batch", "spectral", "none")
POOLS = ("average", "max")
CELL: Mapping[str, tuple[Value, ...]] = {
    "order": ("pre", "post"),
    "norm": ("none", "batch", "instance"),
    "upsampling": ("bilinear", "nearest", "transposed"),
    "shortcut": (False, True),
}
CONDITIONS = ("concatenate", "norm")
NETWORKS = {
    ("plain", "generator"): "search_spaces.gan.plain_generator:PlainGenerator",
    ("cells", "generator"): "search_spaces.gan.cell_generator:CellGenerator",
    ("plain", "discriminator"): "search_spaces.gan.discriminators:PlainDiscriminator",
    ("cells", "discriminator"): "search_spaces.gan.discriminators:CellDiscriminator",
    ("energy", "discriminator"): "search_spaces.gan.energy_discriminator:EnergyDiscriminator",
}


@final
@dataclass(frozen=True)
class GanSpace(Space):
    """Generators of `stages` doublings from a map of an equal part of the image's size, at least 2x2.

    - `stages`: how many; several to choose from, or to grow through (AutoGAN on 32x32 images: [1, 2, 3]).
    - `generators`, `discriminators`: `plain`, `cells`, or both to choose from.
    - `widths`, `discriminator_widths`, `discriminator_norms`, `discriminator_dropouts`, `pools`: what to choose from.
    - `skip_connections`: without, no cell reads another than the one before it.
    - `further_cells`: the discriminator's cells that halve nothing, behind one less than `stages` that do.
    - `code`: the numbers that an auto-encoder keeps of an image.
    - `condition`: how the class, where the task has one, enters the generator: `concatenate`, a vector of
      `embedding` numbers beside the noise, or `norm`, a gain and a shift behind each normalisation.

    DCGAN for 64x64 images is `stages` [4] with both kinds plain, batch normalisation and width 64.
    """

    stages: Sequence[int] = (2,)
    generators: Sequence[str] = KINDS
    discriminators: Sequence[str] = KINDS
    widths: Sequence[int] = (64,)
    discriminator_widths: Sequence[float] = (1.0,)
    discriminator_norms: Sequence[str] = NORMS
    discriminator_dropouts: Sequence[float] = (0.0,)
    pools: Sequence[str] = POOLS
    skip_connections: bool = True
    further_cells: int = 2
    code: int = 32
    condition: str = "concatenate"
    embedding: int = 32

    def __post_init__(self) -> None:
        names = {"generators": KINDS, "discriminators": KINDS, "discriminator_norms": NORMS, "pools": POOLS}
        for name in (*names, "stages", "widths", "discriminator_widths", "discriminator_dropouts"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for name, known in names.items():
            named(name, getattr(self, name), known)
        for name in ("stages", "widths"):
            rising(name, getattr(self, name))
        for name in ("further_cells", "code", "embedding"):
            if getattr(self, name) < 1:
                raise DecisionError(f"{name} is {getattr(self, name)}, but must be at least 1")
        shares = self.discriminator_widths
        if not shares or min(shares) <= 0 or list(shares) != sorted(set(shares)):
            raise DecisionError(f"discriminator_widths is {list(shares)}, but must be rising numbers above 0")
        dropped = self.discriminator_dropouts
        if not dropped or not 0 <= min(dropped) <= max(dropped) < 1 or list(dropped) != sorted(set(dropped)):
            raise DecisionError(
                f"discriminator_dropouts is {list(dropped)}, but must be rising numbers from 0 on and below 1: it is "
                "what is dropped"
            )
        if self.condition not in CONDITIONS:
            raise DecisionError(f"condition is {self.condition!r}, but must be one of {', '.join(CONDITIONS)}")

    @cached_property
    def decisions(self) -> Decisions:
        cells = When.equals("discriminator", "cells")
        table: dict[str, Decision] = {
            "generator": Choice(tuple(self.generators)),
            "width": Choice(tuple(self.widths), ordered=True),
            "discriminator": Choice(tuple(self.discriminators), When.among("objective", *SCORES)),
            "discriminator_width": Choice(tuple(self.discriminator_widths), ordered=True),
            "discriminator_norm": Choice(tuple(self.discriminator_norms)),
            "discriminator_dropout": Choice(tuple(self.discriminator_dropouts), ordered=True),
            "discriminator_pool": Choice(tuple(self.pools), cells),
            "stages": Choice(tuple(self.stages), ordered=True),
        }
        for stage in range(1, self.stages[-1] + 1 if "cells" in self.generators else 1):
            when = When.equals("generator", "cells") & When.at_least("stages", stage)
            table |= {f"stage{stage}_{name}": Choice(options, when) for name, options in CELL.items()}
            if self.skip_connections:
                table |= {f"stage{stage}_skip{source}": Choice((False, True), when) for source in range(1, stage)}
        return Decisions(table, partial=True)

    @property
    def progressive(self) -> bool:
        return len(self.stages) > 1

    def smallest(self) -> Iterator[Candidate]:
        """The different candidates with the fewest stages, one by one."""
        yield from self._different({"stages": self.stages[0]})

    def grow(self, candidate: Candidate) -> Iterator[Candidate]:
        """The different candidates that have the next larger number of stages and are else as `candidate`, one by one.

        Their networks hold every tensor of the candidate's network, by its name and with its shape, but for the layer
        that makes the image of a plain generator, which reads fewer channels.
        """
        place = self.stages.index(int(candidate["stages"])) + 1
        if place < len(self.stages):
            yield from self._different({**candidate, "stages": self.stages[place]})

    def canonical(self, candidate: Candidate) -> Hashable:
        plan = {**self._generator(candidate), **self._discriminator(candidate)}
        return tuple(tuple(map(str, value)) if isinstance(value, list) else value for value in plan.values())

    def blueprint(self, candidate: Candidate, signature: Signature) -> Blueprint:
        """The pair; its arguments are `generator` and `discriminator`, each a blueprint as a mapping of its own."""
        self.check(signature)
        made, judged = self._generator(candidate), self._discriminator(candidate)
        parts = {
            "generator": {
                "network": NETWORKS[made["generator"], "generator"],
                "arguments": self._generator_arguments(made, signature),
            },
            "discriminator": {
                "network": NETWORKS[judged["discriminator"], "discriminator"],
                "arguments": self._discriminator_arguments(judged, signature),
            },
        }
        return Blueprint("search_spaces.gan.gan_network:GanNetwork", parts)

    def _generator_arguments(self, plan: Mapping[str, Any], signature: Signature) -> dict[str, Any]:
        arguments = {
            "noise": signature.inputs["noise"][0],
            "base": self._base(signature),
            "channels": signature.outputs["image"][0],
            "enlarge": 2 ** (self.stages[-1] - plan["stages"]),
            "label": self._label(signature, self.embedding if self.condition == "concatenate" else 0),
        }
        if plan["generator"] == "cells":
            return {**arguments, "width": plan["width"], "cells": plan["cells"]}
        filters = [plan["width"] << power for power in reversed(range(self.stages[-1]))]
        return {**arguments, "widths": filters[: plan["stages"]]}

    def _discriminator_arguments(self, plan: Mapping[str, Any], signature: Signature) -> dict[str, Any]:
        arguments = {"channels": signature.outputs["image"][0], "norm": plan["norm"], "dropout": plan["dropout"]}
        classes = {"classes": signature.vocabularies.get("label", 0)}
        if plan["discriminator"] == "cells":
            pools = [plan.get("pool")] * (self.stages[-1] - 1) + [None] * self.further_cells
            return {**arguments, **classes, "width": plan["filters"], "pools": pools}
        arguments |= {"base": self._base(signature)}
        arguments |= {"widths": [plan["filters"] << power for power in range(self.stages[-1])]}
        if plan["discriminator"] == "plain":
            return {**arguments, **classes}
        return {**arguments, "code": self.code, "label": self._label(signature, self.embedding)}

    def _base(self, signature: Signature) -> list[int]:
        """The size of the first map."""
        return [size >> self.stages[-1] for size in signature.outputs["image"][1:]]

    def _label(self, signature: Signature, embedding: int) -> dict[str, int] | None:
        """The classes and their embedding as networks take them; None where the task has no classes."""
        classes = signature.vocabularies.get("label", 0)
        return {"classes": classes, "embedding": embedding} if classes else None

    def describe(self, candidate: Candidate, signature: Signature) -> Description:
        """Parameters of both networks; multiply-adds and activations of the generator alone, which is what is used."""
        parts = self.blueprint(candidate, signature).arguments
        generator, discriminator = (parts[name]["arguments"] for name in ("generator", "discriminator"))
        made = generated(generator)
        parameters = made.parameters + judged(discriminator)
        return Description(parameters, made.multiply_adds, made.activation_bytes, graphs(generator, discriminator))

    def check(self, signature: Signature) -> None:
        labelled = "label" in signature.inputs
        require(self, signature, "image_generation", {"noise": 1} | ({"label": 0} if labelled else {}), {"image": 3})
        if labelled and signature.vocabularies.get("label", 0) < 1:
            raise UnfitError("the label is no whole number of known classes: choose another task, or name its classes")
        height, width = signature.outputs["image"][1:]
        times, part = self.stages[-1], 2 ** self.stages[-1]
        if height % part or width % part or min(height, width) < 2 * part:
            halved = [n for n in range(1, times) if not height % 2**n and not width % 2**n]
            fit = max((n for n in halved if min(height, width) >> n >= 2), default=0)
            remedy = f"set stages to [{fit}] or fewer" if fit else "choose another size of images"
            raise UnfitError(
                f"images of {height}x{width} cannot be halved {times} times to a map of at least 2x2: {remedy}"
            )

    def _generator(self, candidate: Candidate) -> dict[str, Any]:
        """What the candidate says of the generator; no more of it matters."""
        plan: dict[str, Any] = {name: candidate[name] for name in ("generator", "width", "stages")}
        if plan["generator"] == "cells":
            plan["cells"] = [self._cell(candidate, stage) for stage in range(1, plan["stages"] + 1)]
        return plan

    def _cell(self, candidate: Candidate, stage: int) -> dict[str, Any]:
        cell: dict[str, Any] = {name: candidate[f"stage{stage}_{name}"] for name in CELL}
        sources = range(1, stage if self.skip_connections else 1)
        return {**cell, "skips": [source for source in sources if candidate[f"stage{stage}_skip{source}"]]}

    def _discriminator(self, candidate: Candidate) -> dict[str, Any]:
        """What the candidate says of the discriminator; no more of it matters."""
        kind = candidate.get("discriminator", "energy")
        plan: dict[str, Any] = {
            "discriminator": kind,
            "filters": max(1, round(float(candidate["discriminator_width"]) * int(candidate["width"]))),
            "norm": candidate["discriminator_norm"],
            "dropout": candidate["discriminator_dropout"],
        }
        if kind == "cells" and self.stages[-1] > 1:
            plan["pool"] = candidate["discriminator_pool"]
        return plan

    def _different(self, start: Mapping[str, Value]) -> Iterator[Candidate]:
        seen = set()
        for candidate in _completed(dict(start), list(self.decisions.items())):
            if (key := self.canonical(candidate)) not in seen:
                seen.add(key)
                yield candidate


def _completed(values: dict[str, Value], table: Sequence[tuple[str, Decision]]) -> Iterator[Candidate]:
    """Every candidate that gives the active decisions of `table` that `values` leaves open one of their points."""
    for place, (name, decision) in enumerate(table):
        if name not in values and (decision.when is None or decision.when.holds(values)):
            for value in decision.points:
                yield from _completed({**values, name: value}, table[place + 1 :])
            return
    yield Candidate(values)
