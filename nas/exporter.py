"""Exporter: a way to hand over a trained child."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, final

from nas.history import TrialRecord
from search_spaces.decisions import Candidate
from search_spaces.space import Blueprint, Description, Space
from workers.task import Deployed, State, Task
from workers.trial import Json

if TYPE_CHECKING:
    from torch import Tensor, nn

    from nas.log import Log

FOLDER = "nas.exporters"


class LeftOut(Exception):  # noqa: N818
    """A format that this winner cannot have; the message is one sentence for people."""


@final
@dataclass(frozen=True)
class Winner:
    """A trained child, and all that is known of it.

    `model` carries the weights of `record`'s checkpoint (`state`) and is in evaluation mode; `deployed` is what the
    task hands over, the main thing first; `blueprint` is of the part that is handed over as source, and `prefix` what
    the names of its weights begin with in `model`. `metrics` are those of
    the validation split and, where it was tested, of the test split. `costs` are what the search spent: `trials`,
    `epochs`, `device_seconds`, `seconds`. `examples` are inputs and outputs (`input/...`, `output/...`) that the
    process which measured the metrics stored. `job` and `versions` are as the search was begun with. `training` has the
    `epochs` that the weights were trained for, and how, where `nas train` did it.
    """

    search: str
    job: Mapping[str, Json]
    record: TrialRecord
    candidate: Candidate
    task: Task
    model: nn.Module
    deployed: Mapping[str, Deployed]
    state: State
    space: Space | None = None
    blueprint: Blueprint | None = None
    prefix: str = ""
    description: Description | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    costs: Mapping[str, float] = field(default_factory=dict)
    examples: Mapping[str, Tensor] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    training: Mapping[str, Json] = field(default_factory=dict)

    @property
    def network(self) -> nn.Module:
        """The part of `model` that `blueprint` describes."""
        return self.model.get_submodule(self.prefix.rstrip("."))

    @property
    def main(self) -> Deployed:
        """The module that is handed over first."""
        return next(iter(self.deployed.values()))

    def shared(self, prefix: str) -> list[Tensor]:
        """The stored examples whose name starts with `prefix` (`input/`, `output/`), in the main module's order."""
        order = [*self.main.inputs, *self.main.outputs]
        names = [name for name in self.examples if name.startswith(prefix)]
        names.sort(key=lambda name: (order.index(name[len(prefix) :]) if name[len(prefix) :] in order else -1, name))
        return [self.examples[name] for name in names]


class Exporter(ABC):
    """Writes one format into the folder of an export."""

    after: ClassVar[tuple[str, ...]] = ()  # formats whose files this one reads

    @abstractmethod
    def export(self, winner: Winner, folder: Path, missing: Mapping[str, str]) -> None:
        """Write the format's files into `folder`; `missing` names the formats left out so far, and why.

        Raises LeftOut where this winner cannot have the format; the others are written all the same.
        """


class SearchExporter(ABC):
    """Writes a whole search as one file of a foreign format; in the same folder as exporters of its winner."""

    suffix: ClassVar[str]  # of the file, after the search's name

    @abstractmethod
    def export(self, log: Log, search: str, path: Path) -> None:
        """Write `search` to `path`, whole or not at all; UserError where something else is there."""
