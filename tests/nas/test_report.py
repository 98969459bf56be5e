"""Reports: the headline's numbers against sums made here, nothing loaded from anywhere, and honest about a baseline."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from histories import JOB, Invented

from nas.history import Entry, History
from nas.logs.sqlite import SqliteLog
from nas.reports import facts, report
from nas.reports.page import Subject
from nas.reports.report import subject_of, written
from nas.surrogates.correlation import rank_correlations
from search_spaces.decisions import Candidate
from workers.errors import UserError
from workers.objectives import Direction, Objective, Outcome
from workers.trial import Result, Trial

ACCURACY = Objective("accuracy", Direction.MAXIMIZE)
VOID = {"meta", "br", "hr", "img", "input", "link", "circle", "line", "rect", "path"}


class Page(HTMLParser):
    """Checks that elements are closed in order; collects texts and attributes."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.words: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID or not self.get_starttag_text().endswith("/>"):  # type: ignore[union-attr]
            self.open += [] if tag == "meta" else [tag]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"{tag} is closed, but nothing is open"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data.strip())

    @property
    def text(self) -> str:
        return " ".join(word for word in self.words if word)


def page(invented: Invented, **job: object) -> str:
    return written(subject_of(invented.header({**JOB, **job}), invented.history()))


def test_a_report_is_one_well_formed_file_that_loads_nothing() -> None:
    text = page(Invented())
    parsed = Page(text)
    assert parsed.open == []
    for tag, name, value in parsed.attributes:
        assert name not in ("src", "href", "srcset"), (tag, value)
    bare = text.replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?://|//[a-z]+\.[a-z]|@import|url\((?!#)", bare)


def test_the_headline_is_what_the_journal_says() -> None:
    invented = Invented()
    text = Page(page(invented)).text
    assert "Test accuracy 96.11% trial 60, retrained; 346 of 360 right" in text
    history = invented.history()
    own = [r for r in history.trials.values() if r.arm == "strategy"]
    rival = [r for r in history.trials.values() if r.arm == "baseline"]
    count = min(len(own), len(rival))
    best = [
        max(
            r.result.metrics.get("accuracy", 0.0)
            for r in sorted(arm, key=lambda r: r.ended_at or 0)[:count]
            if r.result
        )
        for arm in (own, rival)
    ]
    assert f"{best[0]:.2%} to {best[1]:.2%} on validation, after {count} trials each" in text
    assert f"{(best[0] - best[1]) * 100:+.2f} points" in text
    epochs = sum(r.result.epochs for r in history.trials.values() if r.result)
    assert f"{epochs} epochs" in text
    assert "Device: CPU (of a test)." in text


def test_a_figure_stands_beside_its_scale_and_what_it_is_measured_by() -> None:
    """Where the task says how its metrics are to be read, and nowhere else."""
    invented = Invented(tested=False)
    history = invented.history()
    for record in history.trials.values():
        if record.result is not None:
            metrics = {**record.result.metrics, "accuracy_real": 0.9876, "accurately": 5.0}
            record.result = replace(record.result, metrics=metrics)
    said = Subject(invented.header(), history, (ACCURACY,), measured="By <our> own features.")
    text = Page(written(said)).text
    assert "; real 0.9876; the test set has not been read" in text
    assert "By <our> own features." in text
    assert "real 0.9876" not in Page(written(replace(said, measured=""))).text


def test_short_trainings_are_compared_by_their_epochs() -> None:
    """Six of the search's first seven trials are rungs: its own best came when random search had trained twice."""
    one = Candidate({"blocks": 1})
    entries: list[Entry] = []
    lengths = [(1, None, "")] * 6 + [(3, 0, ""), (3, None, "baseline"), (3, None, "baseline"), (3, 1, ""), (3, 2, "")]
    for number, (epochs, parent, arm) in enumerate(lengths):
        trial = Trial(number, one, epochs, 3, parent, {"arm": arm} if arm else {})
        result = Result(number, 1, Outcome.COMPLETED, {"accuracy": number / 100}, epochs, 1.0)
        entries += [
            Entry(1, 10.0 + number, kind, number, body)
            for kind, body in (("ask", trial.json()), ("attempt", {"number": 1}), ("tell", result.json()))
        ]
    history = History.of(entries)
    found = facts.compare(history, ACCURACY)
    assert found is not None
    assert (found.trainings, found.searched, found.random) == (2.0, None, 0.08)
    assert found.each == "the epochs of 2 trials each"
    own = facts.race(history, ACCURACY, facts.OWN)
    assert own.by_trainings == (((6 + 2) / 3, 0.06), ((6 + 4) / 3, 0.09), (4.0, 0.1), (4.0, 0.1))
    text = Page(written(subject_of(Invented().header(JOB), history))).text
    assert "too early after the epochs of 2 trials each" in text


def test_a_missing_baseline_is_said_plainly() -> None:
    text = Page(page(Invented(baseline=False))).text
    assert "this search has no random baseline" in text
    assert "There is no random baseline in this search" in text
    assert "Against random search not compared" in text


@pytest.mark.parametrize("strategy", ["random", {"name": "random"}])
def test_random_search_alone_is_not_told_to_compare_itself_with_random_search(strategy: object) -> None:
    text = Page(page(Invented(baseline=False), strategy=strategy)).text
    assert "This is random search itself" in text
    assert "Against random search" not in text
    assert "no random baseline" not in text


def test_where_there_is_no_space_none_is_spoken_of() -> None:
    assert (
        "random on tune:train"
        in Page(page(Invented(baseline=False), strategy="random", space=None, task="tune:train")).text
    )


def test_best_so_far_counts_every_trial_that_ended() -> None:
    history = Invented(trials=40).history()
    race = facts.race(history, ACCURACY, ["strategy"])
    over = [r for r in history.trials.values() if r.arm == "strategy" and r.result]
    scores = [r.result.metrics.get("accuracy") for r in over if r.result]
    running: list[float] = []
    for score in scores:
        running.append(max([*running[-1:], *([score] if score is not None else [])], default=0.0))
    for count in range(1, len(scores) + 1):
        assert race.after(count) == (running[count - 1] or None)
    assert race.over == len(scores)
    assert race.by_seconds[-1][0] == pytest.approx(sum(r.seconds for r in over))


def test_half_trained_trials_do_not_win_a_race() -> None:
    history = History()
    for number, (score, epochs) in enumerate([(0.9, 1), (0.5, 2), (0.7, 2)]):
        history.asked(Trial(number, Candidate({"blocks": 1}), epochs, 2), 1.0)
        history.issued(number, 1, 2.0)
        history.told(Result(number, 1, Outcome.COMPLETED, {"accuracy": score}, 1, 1.0), 3.0 + number)
    assert facts.race(history, ACCURACY, ["strategy"]).by_trainings == ((1.5, 0.5), (2.5, 0.7), (2.5, 0.7))


def test_a_lower_value_wins_where_less_is_better() -> None:
    loss = Objective("loss", Direction.MINIMIZE)
    history = Invented(trials=30).history()
    race = facts.race(history, loss, ["strategy"])
    values = [
        r.result.metrics["loss"] for r in history.trials.values() if r.arm == "strategy" and r.completed and r.result
    ]
    assert race.by_trainings[-1][1] == min(values)


def test_failures_are_told_by_cause() -> None:
    causes = facts.failures(Invented(trials=60, failing=15).history())
    assert [(c.count, c.error) for c in causes] == [(4, "DivergedError: loss became nan at #")]
    assert "4 of 62 trials gave no score" in Page(page(Invented())).text


def test_several_objectives_have_their_front() -> None:
    goals = [{"metric": "accuracy", "direction": "maximize"}, {"metric": "parameters", "direction": "minimize"}]
    invented = Invented()
    text = Page(page(invented, objectives=goals, strategy="random")).text
    history = invented.history()
    points = [
        (r.result.metrics["accuracy"], -r.result.metrics["parameters"])
        for r in history.searched()
        if r.completed and r.result
    ]
    front = [p for p in points if not any(q != p and q[0] >= p[0] and q[1] >= p[1] for q in points)]
    assert f"{len(front)} of {len(points)} trials are on the Pareto front" in text


def test_the_surrogate_is_shown_per_level_and_the_best_cells_are_drawn() -> None:
    text = page(Invented())
    assert "How well the surrogate ranks" in text
    assert 'aria-label="cell of trial 60' in text
    levels = rank_correlations(Invented().history(), ACCURACY)
    rhos = [one.predicted for one in levels if one.predicted is not None]
    assert len(rhos) == 2
    assert all(f">{rho:.2f}<" in text for rho in rhos)


def test_a_search_that_has_only_begun_has_a_report() -> None:
    text = Page(page(Invented(trials=0, tested=False))).text
    assert "No trial has completed so far." in text


def test_what_a_user_wrote_is_only_text() -> None:
    nasty = "</script><script>alert(1)</script><b>&amp;"
    invented = Invented(trials=20, failing=3)
    history = invented.history()
    for record in history.trials.values():
        record.trial = replace(record.trial, candidate=Candidate({"activation": nasty}))
        if record.result is not None and record.result.error:
            record.result = Result.from_json({**record.result.json(), "error": nasty})
    text = written(subject_of(invented.header({**JOB, "name": "nasty", "folder": nasty}), history))
    assert nasty not in text
    assert Page(text).open == []


def test_ten_thousand_trials_make_a_page_that_a_browser_can_bear() -> None:
    text = page(Invented(trials=10_000))
    assert len(text) < 6_000_000
    assert text.count("<circle") < 10_000
    assert text.count("<tr>") < 300
    data = json.loads(text.split('id="trials">')[1].split("</script>")[0])
    assert len(data["rows"]) == 10_002


def test_a_space_that_is_gone_leaves_the_rest_of_the_report() -> None:
    text = Page(page(Invented(), space="gone.module:Space")).text
    assert "The networks cannot be drawn here" in text
    assert "96.11%" in text


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqliteLog]:
    log = SqliteLog(tmp_path / "home")
    invented = Invented(trials=10)
    log.create("cells", JOB, {"torch": "2.13.0"})
    epoch = log.acquire("cells")
    log.append("cells", epoch, [entry for entry in invented.entries() if entry.kind != "driver"])
    yield log
    log.close()


def test_a_report_is_written_whole_beside_what_is_there(log: SqliteLog, tmp_path: Path) -> None:
    file = report(log, "cells", tmp_path / "new" / "report.html")
    assert file.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert [path.name for path in file.parent.iterdir()] == ["report.html"]


def test_a_place_that_cannot_be_written_is_a_user_s_mistake(log: SqliteLog, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        report(log, "cells", tmp_path / "file" / "report.html")
