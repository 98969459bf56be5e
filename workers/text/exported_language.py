"""ExportedLanguage: a language model that a search has exported, which says how likely a text is."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, final

from search_spaces.space import Blueprint
from workers.errors import NotFoundError, UserError
from workers.text.corpus import CHARACTERS
from workers.text.vocabulary import END, Vocabulary
from workers.trial import Json

if TYPE_CHECKING:
    from torch import nn

DESCRIPTION, WEIGHTS = "architecture.json", "weights.safetensors"
OURS = "search_spaces."  # whose networks are built; nothing of the folder is run


@final
@dataclass(frozen=True)
class ExportedLanguage:
    """The `folder` that `nas export` wrote of a search of the task `language_model`, which reads `unit`.

    Raises `UserError` with a remedy where it is something else.
    """

    folder: Path
    unit: str

    def __post_init__(self) -> None:
        for name in (DESCRIPTION, WEIGHTS):
            if not (self.folder / name).is_file():
                raise NotFoundError(
                    f"language_model is {self.folder}, but holds no {name}: name a folder that `nas export` wrote of "
                    "a search of the task language_model"
                )
        said, network = self.record["preprocessing"], self.record["blueprint"]["network"]
        if said["unit"] != self.unit:
            raise UserError(
                f"the language model in {self.folder} reads {said['unit']}, but texts are written by {self.unit} here: "
                f"set tokens: {said['unit']}, or search one with unit: {self.unit}"
            )
        if self.line_end not in said["vocabulary"]:
            raise UserError(
                f"the language model in {self.folder} knows no end of a line, so not where a text ends: train it on a "
                "file with a line for each text"
            )
        if not str(network).startswith(OURS):
            raise UserError(
                f"the language model in {self.folder} is {network}, but only networks of {OURS[:-1]} are built: search "
                "one of recurrent_cell or recurrent_stack"
            )

    @property
    def line_end(self) -> str:
        """The token between two texts: what stands before the first token of one, and behind its last."""
        return "\n" if self.unit == CHARACTERS else END

    @cached_property
    def record(self) -> Mapping[str, Json]:
        """What the export says of itself."""
        file = self.folder / DESCRIPTION
        try:
            record = json.loads(file.read_text(encoding="utf-8"))
            kind = record["signature"]["kind"]
            _ = record["preprocessing"]["unit"], record["preprocessing"]["vocabulary"], record["blueprint"]["network"]
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise UserError(
                f"{file} cannot be used ({type(error).__name__}: {error}): export the search again"
            ) from error
        if kind != "language_model":
            raise UserError(
                f"{self.folder} holds a network for {kind}, but language_model must name an export of a search of the "
                "task language_model"
            )
        found: Mapping[str, Json] = record
        return found

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """Its own."""
        return Vocabulary(tuple(self.record["preprocessing"]["vocabulary"]))

    @cached_property
    def network(self) -> nn.Module:
        """The network with its weights, on the CPU."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file
        from torch import nn

        blueprint = Blueprint(**self.record["blueprint"])
        try:
            module, _, name = blueprint.network.partition(":")
            kind = getattr(importlib.import_module(module), name)
            if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
                raise TypeError(f"{blueprint.network} is no network")
            network = blueprint.build()
            network.load_state_dict(load_file(self.folder / WEIGHTS))
        except (ImportError, AttributeError, TypeError, ValueError, RuntimeError, OSError, SafetensorError) as error:
            raise UserError(
                f"the language model in {self.folder} cannot be built ({type(error).__name__}: {error}): export "
                "it again"
            ) from error
        return network.eval()

    def log_probability(self, tokens: Sequence[str], ended: bool) -> float:
        """The logarithm of the probability of a text behind the end of a line; `ended`: with its own end."""
        import torch

        from workers.text.reading import read

        numbers = self.vocabulary.encode((self.line_end, *tokens, *((self.line_end,) if ended else ())))
        if len(numbers) == 1:
            return 0.0
        with torch.no_grad():
            logits, _ = read(self.network, torch.tensor([numbers[:-1]]), ())
        chances = logits[0].double().log_softmax(1)
        return float(chances.gather(1, torch.tensor(numbers[1:])[:, None]).sum())
