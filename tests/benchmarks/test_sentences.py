"""The three ways are given the same, within what the published network costs; means have Student's interval."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from random import Random

import few_seeds
import pytest
from sentences import REPORTED, SPACES, WAYS, Setting, measure, table_in

from nas.plan import Plan
from search_spaces.decisions import Candidate
from search_spaces.text.text_cnn import CNN_RAND, TextCnnSpace
from workers.errors import NotFoundError


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    """Questions and reviews that one word decides."""
    path, generator = tmp_path / "sentence_cls.csv", Random(0)
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["dataset", "split", "label", "text"])
        for number in range(120):
            label, part = number % 2, "test" if number % 6 < 2 else "train"
            words = [generator.choice(["the", "a", "of"]) for _ in range(4)]
            rows.writerow([generator.choice(list(REPORTED)), part, label, " ".join([*words, ("bad", "good")[label]])])
    return Setting(str(path), trials=2, epochs=(1, 2), examples=20)


def test_all_ways_have_the_same_trials_epochs_and_ceilings(setting: Setting, tmp_path: Path) -> None:
    for subset, epochs in (("TREC", 1), ("SST2", 2)):
        jobs = [setting.job(subset, way, 0, tmp_path) for way in WAYS]
        same = [{key: job[key] for key in ("task", "budget", "constraints", "final", "pool", "seed")} for job in jobs]
        assert same[0] == same[1] == same[2]
        assert same[0]["task"]["epochs"] == epochs
        plans = [Plan.of(job, job["name"]) for job in jobs]
        assert len({plan.setup.search for plan in plans}) == len(WAYS)
        space, signature = plans[0].space, plans[0].task.signature
        assert space is not None
        published = TextCnnSpace().describe(Candidate(CNN_RAND), signature)
        assert space.describe(Candidate({}), signature) == published
        most = {name: rule["max"] for name, rule in same[0]["constraints"].items()}
        assert most == {"parameters": published.parameters, "multiply_adds": published.multiply_adds}
        assert space.build(Candidate({}), signature).embedding.embedding_dim == 300  # type: ignore[union-attr]


def test_the_figures_are_those_of_students_test() -> None:
    from scipy import stats

    first, second = [0.81, 0.85, 0.83], [0.80, 0.79, 0.82]
    paired = stats.ttest_rel(first, second).confidence_interval(0.95)
    mean, half = few_seeds.interval([a - b for a, b in zip(first, second, strict=True)])
    assert (mean - half, mean + half) == pytest.approx((paired.low, paired.high))
    assert math.isnan(few_seeds.interval([0.8])[1])


def test_a_difference_is_only_said_where_its_interval_is_on_one_side() -> None:
    assert few_seeds.verdict([0.9, 0.91, 0.92], [0.8, 0.81, 0.825]).startswith("better: +9.8")
    assert few_seeds.verdict([0.8, 0.81, 0.825], [0.9, 0.91, 0.92]).startswith("worse: -9.8")
    assert few_seeds.verdict([0.9, 0.8, 0.85], [0.8, 0.9, 0.85]).startswith("no difference")
    assert few_seeds.verdict([9.0, 9.1, 8.9], [12.0, 12.2, 11.8], written=".2f", less=True).startswith("better: -3.00")
    assert few_seeds.verdict([0.9], [0.8]) == "one seed cannot tell: +10.00%"
    assert few_seeds.share([0.9]) == "90.00%"
    assert few_seeds.share([0.8, 0.81, 0.825]) == "81.17% ± 3.13%"


def test_missing_data_are_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="name the folder"):
        table_in(tmp_path)
    assert (SPACES / "published_cnn.py").is_file()


@pytest.mark.slow
def test_each_way_is_searched_trained_again_and_tested(setting: Setting, tmp_path: Path) -> None:
    found = measure(setting, "TREC", [0], tmp_path / "journal")
    assert list(found) == list(WAYS)
    assert all(0 <= one.test <= 1 for runs in found.values() for one in runs)
    assert measure(setting, "TREC", [0], tmp_path / "journal") == found  # from the journal
