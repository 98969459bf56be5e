"""Share: the children of a search are parts of one network."""

from __future__ import annotations

from dataclasses import replace
from typing import final

from nas.strategy import Draw
from nas.wrapper import Wrapper
from workers.trial import Trial


@final
class Share(Wrapper):
    """Every trial of `inner` trains the shared weights, and is scored with them; `inner` need not know.

    A look, which trains nothing, is scored with them as well.
    """

    def propose(self, draw: Draw) -> Trial | None:
        trial = self.inner.propose(draw)
        return None if trial is None else replace(trial, shared=True)

    def asked(self, trial: Trial) -> None:
        super().asked(replace(trial, shared=False))
