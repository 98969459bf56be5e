"""Growing a space some of whose decisions hang on one of the task: what grows is what the space decides alone."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import pytest
from progressive import Chain, completed, letter_score, letters, setting, simulate, trials_of

from nas.strategies.pnas import Pnas
from search_spaces.decision import Choice, When
from search_spaces.decisions import Candidate, Decisions
from workers.trial import Result, Trial

STYLE = Decisions({"style": Choice(("plain", "rich"))})


@dataclass(frozen=True)
class Trimmed(Chain):
    """Chains that have a trim in the rich style, which makes them other networks."""

    @property
    def decisions(self) -> Decisions:
        trim = {"trim": Choice(("bow", "ribbon"), When.among("style", "rich"))}
        return Decisions({**Chain(self.length).decisions, **trim}, partial=True)

    def canonical(self, candidate: Candidate) -> Hashable:
        return super().canonical(candidate), candidate.get("trim")


@pytest.mark.parametrize("hyperparameters", ["draw", "keep"])
def test_no_chain_is_tried_twice_whatever_hangs_on_the_task(
    hyperparameters: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nas.surrogates.ensemble._STEPS", 2)

    def answer(trial: Trial) -> Result:
        return completed(trial, letter_score(trial.candidate))

    strategy = Pnas(setting(Trimmed(2), STYLE), beam=6, inherit=True, hyperparameters=hyperparameters)
    trials = trials_of(simulate(strategy, answer, trials=40))
    assert len(trials) == 4 + 6
    assert len({"".join(sorted(letters(trial.candidate))) for trial in trials}) == len(trials)
    assert all(("trim" in trial.candidate) == (trial.candidate["style"] == "rich") for trial in trials)
    known = {trial.id: trial.candidate for trial in trials}
    kept = [
        all(known[trial.parent].get(name) == trial.candidate.get(name) for name in ("style", "trim"))
        for trial in trials
        if trial.parent is not None
    ]
    assert len(kept) == 6
    assert all(kept) == (hyperparameters == "keep")


def test_an_heir_has_its_parents_part_that_hangs_on_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.surrogates.ensemble._STEPS", 2)

    def answer(trial: Trial) -> Result:
        return completed(trial, letter_score(trial.candidate))

    rich = Decisions({"style": Choice(("rich",))})
    trials = trials_of(simulate(Pnas(setting(Trimmed(2), rich), beam=6, inherit=True), answer, trials=40))
    known = {trial.id: trial.candidate for trial in trials}
    heirs = [trial for trial in trials if trial.parent is not None]
    assert len(heirs) == 6
    assert all(trial.candidate["trim"] == known[trial.parent]["trim"] for trial in heirs if trial.parent is not None)
