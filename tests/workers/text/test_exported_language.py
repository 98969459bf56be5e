"""A language model that was exported: how likely texts are by it, and which of a beam is written for that."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from pair_networks import a_batch, course_of, model_of, task_of
from safetensors.torch import save_file
from torch import nn

import workers.text.pair_course as module
from nas.architecture import FILE, Architecture
from search_spaces.rnn.recurrent_stack import RecurrentStackSpace
from search_spaces.space import Blueprint
from workers.errors import UserError
from workers.plugins import Spec
from workers.tasks.language_model import LanguageModel
from workers.text.beam import Hypothesis, search
from workers.text.exported_language import ExportedLanguage
from workers.text.pair_course import Writing
from workers.text.pair_data import ENDED

LINES = "".join(f"{1900 + n}-{1 + n % 12:02}-{1 + n % 28:02}\n" for n in range(100))


def exported(folder: Path, text: str = LINES, **changes: Any) -> nn.Module:
    """The network whose export `folder` then holds; `changes` are of what the export says."""
    (folder / "lines.txt").write_text(text)
    unit = changes.pop("unit", "characters")
    task = LanguageModel(dataset="file", root=str(folder / "lines.txt"), unit=unit, steps=8)
    space = RecurrentStackSpace("language_model", ("lstm",), (1,), (12,), (6,), tied=(False,))
    candidate = space.decisions.sample(Random(0))
    torch.manual_seed(3)
    network = space.build(candidate, task.signature).eval()
    for weight in network.parameters():
        weight.data.mul_(3)  # so that what was read matters
    said = {"unit": unit, "vocabulary": list(task.corpus.vocabulary.tokens), "unknown": "<unk>"}
    blueprint = space.blueprint(candidate, task.signature)
    known = {"blueprint": blueprint, "preprocessing": said, **changes}
    signature = known.pop("signature", task.signature)
    record = Architecture("lines", 1, candidate, signature, Spec("language_model", {}), **known).json()
    (folder / FILE).write_text(json.dumps(record))
    save_file({name: one.clone() for name, one in network.state_dict().items()}, folder / "weights.safetensors")
    return network


def test_a_text_is_as_likely_as_its_tokens_one_after_the_other(tmp_path: Path) -> None:
    """By a loop that hands the state on; a text begins behind the end of a line, and ends with one."""
    network = exported(tmp_path)
    language = ExportedLanguage(tmp_path, "characters")
    numbers = {token: number for number, token in enumerate(language.vocabulary.tokens)}
    total, state, last = 0.0, (), "\n"
    for token in "1950-02-17\n":
        with torch.no_grad():
            logits, *carried = network(torch.tensor([[numbers[last]]]), *state)
        scores = logits[0, 0].double().tolist()
        total += scores[numbers[token]] - math.log(math.fsum(map(math.exp, scores)))
        state, last = tuple(carried), token
    assert language.log_probability("1950-02-17", ended=True) == pytest.approx(total, rel=1e-5)
    assert language.log_probability("1950-02-17\n", ended=False) == pytest.approx(total, rel=1e-5)


def test_what_may_follow_is_a_distribution(tmp_path: Path) -> None:
    exported(tmp_path)
    language = ExportedLanguage(tmp_path, "characters")
    before = language.log_probability("19", ended=False)
    following = [language.log_probability(("1", "9", token), ended=False) for token in language.vocabulary.tokens]
    assert math.fsum(math.exp(one - before) for one in following) == pytest.approx(1, rel=1e-6)
    assert language.log_probability("", ended=False) == 0.0
    assert language.log_probability("x", ended=False) == language.log_probability(("<unk>",), ended=False)


def test_words_end_where_lines_do(tmp_path: Path) -> None:
    exported(tmp_path, "say it twice\nsay it\n" * 20, unit="words")
    language = ExportedLanguage(tmp_path, "words")
    assert language.log_probability(("say", "it"), ended=True) == pytest.approx(
        language.log_probability(("say", "it", "<eos>"), ended=False)
    )


def test_it_decides_between_what_a_beam_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exported(tmp_path)
    task = task_of(beam=8, rescoring=2.0, language_model=str(tmp_path))
    assert task.located() == {"language_model": str(tmp_path)}
    assert task.language is not None
    model, kept = model_of(task).eval(), []

    def recorded(*given: Any) -> list[list[Hypothesis]]:
        kept.append(search(*given))
        return kept[-1]

    monkeypatch.setattr(module, "search", recorded)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(4)  # untrained it would hardly tell one token from another
        found = course_of(task, model, Writing(8, weight=2.0, language=task.language)).written(a_batch(task).source)
        counted = course_of(task, model, Writing(8, weight=2.0)).written(a_batch(task).source)
    best = []
    for many in kept[0]:
        texts = ["".join(task.pairs.vocabulary.decode(t for t in one.tokens if t != ENDED)) for one in many]
        second = [
            task.language.log_probability(text + ("\n" if ENDED in one.tokens else ""), ended=False)
            for one, text in zip(many, texts, strict=True)
        ]
        values = [one.log_probability + 2 * more for one, more in zip(many, second, strict=True)]
        best.append(many[values.index(max(values))].tokens)
    assert found == best
    assert found != counted
    assert found != [max(many, key=lambda one: one.log_probability).tokens for many in kept[0]]


def test_what_is_no_such_model_is_refused_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no architecture.json: name a folder that `nas export` wrote"):
        task_of(beam=2, rescoring=1.0, language_model=str(tmp_path))
    exported(tmp_path)
    with pytest.raises(UserError, match="rescoring, its weight, is 0: set rescoring to"):
        task_of(beam=2, language_model=str(tmp_path))
    with pytest.raises(UserError, match="reads characters, but texts are written by words here: set tokens"):
        task_of(beam=2, rescoring=1.0, language_model=str(tmp_path), tokens="words")
    exported(tmp_path, "no line ends here " * 20)
    with pytest.raises(UserError, match="train it on a file with a line for each text"):
        ExportedLanguage(tmp_path, "characters")
    (tmp_path / FILE).write_text("{}")
    with pytest.raises(UserError, match="export the search again"):
        ExportedLanguage(tmp_path, "characters")


def test_only_networks_of_this_package_are_built(tmp_path: Path) -> None:
    """What a folder says is never called but where it is one of our networks; its model.py is not read."""
    exported(tmp_path, blueprint=Blueprint("posix:system", {"command": "false"}))
    with pytest.raises(UserError, match="posix:system, but only networks of search_spaces are built"):
        ExportedLanguage(tmp_path, "characters")
    exported(tmp_path, blueprint=Blueprint("search_spaces.space:require", {}))
    with pytest.raises(UserError, match=r"search_spaces\.space:require is no network"):
        _ = ExportedLanguage(tmp_path, "characters").network


def test_other_tasks_and_damaged_weights_are_told(tmp_path: Path) -> None:
    exported(tmp_path)
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(UserError, match=r"cannot be built .*: export it again"):
        _ = ExportedLanguage(tmp_path, "characters").network
    exported(tmp_path, signature=replace(LanguageModel().signature, kind="text_classification"))
    with pytest.raises(UserError, match="holds a network for text_classification"):
        ExportedLanguage(tmp_path, "characters")
