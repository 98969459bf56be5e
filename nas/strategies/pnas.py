"""Progressive search with a surrogate, PNAS (Liu et al., ECCV 2018): https://arxiv.org/abs/1712.00559."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

from nas.levels import Growth, Levels
from nas.rounds import Rounds
from nas.strategy import Draw, Setting, Strategy
from nas.surrogates.foresight import Foresight
from nas.surrogates.predictor import Predictor
from workers.errors import UserError
from workers.trial import Result, Trial

SURROGATES = ("mlp", "lstm")
LOSSES = ("list_mle", "pairwise_hinge", "l1")
HYPERPARAMETERS = ("draw", "keep")
BEAM = 256  # as published
SMALL_BEAM = 8  # where nothing grows: a hundred trainings are then a dozen rounds


@final
class Pnas(Strategy):
    """The smallest candidates first, then, size by size, the expansions of the best that the surrogate ranks highest.

    A level begins when every trial of the one before has been told: its `beam` best are expanded, all expansions are
    scored by the surrogate, which is fitted to everything told so far, and the best `beam` that are new are trained.
    When nothing can grow any more the strategy is exhausted. What a wrapper refuses is replaced by the next in line.

    `first_level` trains only that many of the smallest candidates, drawn at random (default: all). `surrogate` is
    `mlp` or `lstm`, an ensemble of `members`; `loss` is `l1` as published, or a ranking loss (`list_mle`,
    `pairwise_hinge`). In 16 synthetic worlds (4 operations, beam 16, noise 0.01) the chosen were on average better than
    95.0 % of all expansions with `mlp` and `list_mle`, 94.3 % with `l1`; in 6 of them than 90.2 % with `lstm`.
    With `inherit`, an expansion begins with the weights that its parent ended with, as far as it has them (AutoGAN,
    Gong et al. 2019), and what of its network hangs on the task's decisions, such as the discriminator, stays the
    parent's; what is trained again at the end begins from scratch. `hyperparameters` says what becomes of decisions
    that are not the space's: `draw` them for every trial, or `keep` the parent's.

    In a space that does not grow, and without one, a level is a round: `first_level` random candidates, then round by
    round the `beam` that the surrogate ranks highest among random candidates and mutations of the best; it reads all
    decisions, hyperparameters, too, and nothing waits for the end of a round (`nas.rounds`).

    A trial's note holds its `level`, the `predicted` metric, and `fitted`, the rank correlation of the surrogate on the
    level that it was just fitted to; `nas.surrogates.correlation` reads them. A small candidate that does best wins, as
    it would for the random baseline, which draws from all sizes, too.
    """

    objectives_at_most = 1
    foreign = True

    def __init__(  # noqa: PLR0913 - each is an option of a job
        self,
        setting: Setting,
        beam: int | None = None,
        first_level: int | None = None,
        surrogate: str = "mlp",
        loss: str = "list_mle",
        members: int = 5,
        hyperparameters: str = "draw",
        inherit: bool = False,
    ) -> None:
        super().__init__(setting)
        for name, value in (("beam", beam), ("members", members), ("first_level", first_level)):
            if value is not None and value < 1:
                raise UserError(f"{name} is {value}, but strategy pnas needs at least 1")
        _one_of("surrogate", surrogate, SURROGATES)
        _one_of("loss", loss, LOSSES)
        _one_of("hyperparameters", hyperparameters, HYPERPARAMETERS)
        predictor = Predictor(surrogate, loss, members)
        self._foresight = Foresight()
        self._way: Levels | Rounds
        if setting.space is not None and setting.space.progressive:
            growth = Growth(beam or BEAM, first_level, hyperparameters == "keep", inherit)
            self._way = Levels(setting, predictor, growth)
        else:
            beam = beam or SMALL_BEAM
            self._way = Rounds(setting, predictor, beam, first_level or 2 * beam)

    @property
    def exhausted(self) -> bool:
        return self._way.exhausted

    def propose(self, draw: Draw) -> Trial | None:
        return self._way.propose(draw)

    def asked(self, trial: Trial) -> None:
        if (predicted := trial.note.get("predicted")) is not None:
            self._foresight.predicted(trial.id, predicted)
        self._way.asked(trial)

    def told(self, result: Result) -> None:
        self._foresight.told(result.trial_id, result.metrics.get(self.setting.objectives[0].metric))
        self._way.told(result)

    def gauges(self) -> Mapping[str, float]:
        return {"surrogate_rank_correlation": self._foresight.correlation()}


def _one_of(name: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise UserError(f"{name} is {value!r}, but strategy pnas knows {', '.join(known)}")
