"""Options of Optuna's samplers: their names, what they may be, and our defaults, which no release of Optuna changes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from nas.jobfile.mistakes import nearest
from workers.errors import UserError
from workers.trial import Json


@final
@dataclass(frozen=True, slots=True)
class Option:
    """One option: its default, and the rule for what a job may write instead.

    `least` makes it a whole number from there on, `shares` a number from 0 to 1, `among` one of these; none of the
    three makes it true or false. Where the default is null, null may be written.
    """

    default: Json
    least: int | None = None
    shares: bool = False
    among: tuple[str, ...] = ()

    @property
    def rule(self) -> str:
        """What a value must be, in words."""
        if self.among:
            rule = f"one of {', '.join(self.among)}"
        elif self.shares:
            rule = "a number from 0 to 1"
        else:
            rule = "true or false" if self.least is None else f"a whole number of at least {self.least}"
        return f"{rule}, or null" if self.default is None else rule

    def accepts(self, value: Json) -> bool:
        """Whether a job may say this."""
        if value is None:
            return self.default is None
        if self.among:
            return value in self.among
        if self.least is None and not self.shares:
            return isinstance(value, bool)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return False
        return 0 <= value <= 1 if self.least is None else isinstance(value, int) and value >= self.least


CROSSOVERS = ("uniform", "blxalpha", "spx", "sbx", "vsbx", "undx")
GENETIC: Mapping[str, Option] = {
    "population_size": Option(50, least=3),
    "crossover": Option("uniform", among=CROSSOVERS),
    "crossover_prob": Option(0.9, shares=True),
    "swapping_prob": Option(0.5, shares=True),
    "mutation": Option(None, among=("polynomial",)),  # null: the value is drawn afresh
    "mutation_prob": Option(None, shares=True),  # null: one by the number of parameters
}
OPTIONS: Mapping[str, Mapping[str, Option]] = {
    "random": {},
    "grid": {},
    "tpe": {
        "n_startup_trials": Option(10, least=1),
        "n_ei_candidates": Option(24, least=1),
        "multivariate": Option(None),  # null: with one objective
        "group": Option(False),
        "constant_liar": Option(True),
    },
    "gp": {
        "n_startup_trials": Option(10, least=1),
        "deterministic_objective": Option(False),
        "trials_at_most": Option(1000, least=2),  # ours: a fit takes the cube of them
    },
    "cmaes": {
        "n_startup_trials": Option(1, least=0),
        "popsize": Option(None, least=2),  # null: four and three times the logarithm of the dimension
        "use_separable_cma": Option(False),
        "with_margin": Option(False),
        "lr_adapt": Option(False),
    },
    "qmc": {
        "qmc_type": Option("sobol", among=("sobol", "halton")),
        "scramble": Option(True),  # Optuna says false, with which every seed gives the same sequence
    },
    "nsgaii": GENETIC,
    "nsgaiii": {**GENETIC, "dividing_parameter": Option(3, least=1)},
}
SAMPLERS = tuple(OPTIONS)
ONE_OBJECTIVE = ("cmaes",)


def resolve(sampler: str, given: Mapping[str, Json], objectives: int) -> dict[str, Json]:
    """Every option of `sampler`, those that are not `given` at their default; `UserError` where one is wrong."""
    known = OPTIONS[sampler]
    for name, value in given.items():
        if name not in known:
            hint = nearest(name, known) if known else "it has none"
            raise UserError(f"{name!r} is no option of the sampler {sampler}: {hint}")
        if not known[name].accepts(value):
            raise UserError(f"{name} is {value!r}, but the sampler {sampler} needs {known[name].rule}")
    options = {name: option.default for name, option in known.items()} | dict(given)
    if sampler == "tpe":
        if options["group"] and options["multivariate"] is False:
            raise UserError("group is true, but multivariate is false: group splits what is modelled together")
        if options["multivariate"] is None:
            options["multivariate"] = options["group"] or objectives == 1
    if sampler == "cmaes":
        variants = [name for name in ("use_separable_cma", "with_margin", "lr_adapt") if options[name]]
        if len(variants) > 1:
            raise UserError(f"{' and '.join(variants)} exclude each other: keep one of them")
    return options
