"""Text classification: it learns, goes on exactly, keeps its constraint, and shows where a network looks."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch

from search_spaces.decisions import Candidate
from search_spaces.text.text_cnn import TextCnnSpace
from workers.errors import NotFoundError, UserError
from workers.objectives import Outcome
from workers.plugins import Spec
from workers.setup import Setup
from workers.tasks.text_classification import TextClassification
from workers.text.buckets import Texts
from workers.text.text_course import TextCourse, TextSettings, classifier_of
from workers.text.tokenizing import sentences_of
from workers.trial import Attempt, Result, Trial
from workers.workshop import Workshop

SMALL: dict[str, Any] = {"train_examples": 80, "validation_examples": 40, "device": "cpu"}
CNN = Spec("text_cnn", {"embeddings": [16], "filters": [8], "widths": [1, 2], "hidden": [0], "dropouts": [0.25]})
READER = {"embeddings": [8], "words": [6], "sentences": [6], "keys": [6]}


def workshop(tmp_path: Path, space: Spec = CNN, **options: Any) -> Workshop:
    return Workshop(Setup("texts", Spec("text_classification", options), space, artifacts=str(tmp_path)))


def run(there: Workshop, attempt: Attempt) -> Result:
    result = there.run(attempt, lambda progress: None)
    assert result.outcome is Outcome.COMPLETED, result.error
    return result


def candidate_of(there: Workshop, seed: int = 0) -> Candidate:
    assert there.space is not None
    return (there.space.decisions | there.task.decisions).sample(Random(seed))


def test_it_learns_the_subjects_of_the_documentation(tmp_path: Path) -> None:
    """The commonest of six classes is a third of the texts."""
    there = workshop(tmp_path, learning_rate=0.02, device="cpu")
    whole = Attempt(Trial(0, candidate_of(there), 8, 8))
    assert run(there, whole).metrics["accuracy"] > 0.5
    tested = run(there, Attempt(Trial(1, whole.trial.candidate, 0, 8, parent=0, split="test"), 1, whole))
    assert tested.metrics["test_correct"] / tested.metrics["test_total"] == tested.metrics["test_accuracy"] > 0.5
    assert "accuracy" not in tested.metrics


def test_documents_go_on_exactly(tmp_path: Path) -> None:
    space = Spec("hierarchical_attention", {**READER, "dropouts": [0.25]})
    there = workshop(tmp_path, space, **SMALL, sentences=True, length=12, most_sentences=4, batch_size=10)
    candidate = candidate_of(there)
    half = Attempt(Trial(1, candidate, 1, 3))
    run(there, half)
    on = run(there, Attempt(Trial(2, candidate, 3, 3, parent=1), 1, half))
    straight = run(there, Attempt(Trial(3, candidate, 3, 3)))
    assert on.metrics == straight.metrics
    first, second = (sorted(tmp_path.rglob(f"texts/{trial}/*/checkpoint.safetensors"))[0] for trial in (2, 3))
    assert first.read_bytes() == second.read_bytes()


def test_long_texts_are_scored_few_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = workshop(tmp_path, **SMALL, length=20)
    attempt = Attempt(Trial(1, candidate_of(there), 1, 1))
    together, take = run(there, attempt).metrics, Texts.take
    seen: list[int] = []

    def taken(self: Texts, places: Sequence[int], *shape: Any) -> Any:
        seen.append(len(places))
        return take(self, places, *shape)

    monkeypatch.setattr(Texts, "take", taken)
    monkeypatch.setattr("workers.text.text_course.TOKENS_AT_ONCE", 3 * 20 + 19)
    assert run(there, attempt).metrics == pytest.approx(together)
    assert seen.count(3) == SMALL["validation_examples"] // 3


def test_attention_is_shown_and_sums_to_one(tmp_path: Path) -> None:
    there = workshop(
        tmp_path, Spec("hierarchical_attention", READER), **SMALL, sentences=True, length=12, most_sentences=4
    )
    run(there, Attempt(Trial(0, candidate_of(there), 1, 1)))
    shown = sorted(tmp_path.rglob("exhibit-*attention*.json"))
    assert len(shown) == 3
    for file in shown:
        found = json.loads(file.read_text())
        assert sum(map(sum, found["weights"])) == pytest.approx(1, abs=0.005)
        assert len(found["rows"]) == len(found["weights"])
        assert len(found["columns"]) == len(found["weights"][0])


def course(task: TextClassification, max_norm: float) -> TextCourse:
    space = TextCnnSpace(embeddings=(8,), filters=(4,), widths=(1,), hidden=(0,), dropouts=(0.0,))
    candidate = space.decisions.sample(Random(0))
    torch.manual_seed(0)
    model = space.build(candidate, task.signature)
    settings = TextSettings(0.0, max_norm, 4)
    return TextCourse(task, settings, task.texts, model, Trial(0, candidate, 2, 2), torch.device("cpu"), None)


def test_the_classifier_s_norms_stay_within_their_bound() -> None:
    task = TextClassification(**SMALL, learning_rate=0.1, gradient_clipping=0.0)
    bound, free = course(task, 0.5), course(task, 0.0)
    for one in (bound, free):
        one.epoch(0)
    norms = [classifier_of(one.model).weight.norm(dim=1) for one in (bound, free)]  # type: ignore[union-attr]
    assert norms[0].max() <= 0.5 + 1e-5 < norms[1].max()
    torch.testing.assert_close(norms[0].max(), torch.tensor(0.5))


def test_preprocessing_makes_the_numbers_of_the_data() -> None:
    task = TextClassification(**SMALL)
    said = json.loads(json.dumps(dict(task.preprocessing)))
    places = {token: place for place, token in enumerate(said["vocabulary"])}
    texts = {
        tuple(places.get(token, 1) for token in eval(said["tokens"], {"re": re, "text": text})[: task.length])
        for text in task.source.read().texts
    }
    assert all(
        sum(text, ()) in texts for part in ("train", "validation", "test") for text in task.texts.part(part).texts
    )
    assert said["classes"] == list(task.texts.classes)


def test_what_is_said_of_sentences_cuts_them() -> None:
    said = TextClassification(sentences=True, most_sentences=3, **SMALL).preprocessing["sentences"]
    text = "One, e.g. two.  Three!\n\nFour"
    assert [part for part in eval(said, {"re": re, "text": text}) if part.strip()] == sentences_of(text)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tokens": "letters"}, "tokens is 'letters', but must be one of words"),
        ({"validation": 1.0}, "validation is 1.0, but must be a share"),
        ({"length": 0}, "length is 0, but must be at least 1"),
        ({"device": "tpu"}, "device is 'tpu'"),
        ({"dataset": "documents"}, "dataset is 'documents', but must be documentation, or the path"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        TextClassification(**options)


def test_missing_files_are_named_when_they_are_read(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="there is no file"):
        TextClassification(dataset=str(tmp_path / "none.csv")).prepare()
    with pytest.raises(NotFoundError, match="there is no folder"):
        TextClassification(dataset=str(tmp_path / "none")).prepare()


def test_only_its_own_settings_and_the_recipe_s_are_left_to_the_search() -> None:
    task = TextClassification(max_norm={"range": [1.0, 5.0]}, label_smoothing={"choice": [0.0, 0.1]})  # type: ignore[arg-type]
    assert set(task.decisions) == {"max_norm", "label_smoothing"}
    closed = task.closed(Candidate({"max_norm": 2.0, "label_smoothing": 0.1}))
    assert (closed.max_norm, closed.label_smoothing) == (2.0, 0.1)
