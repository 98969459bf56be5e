"""Exports: which trial, where to, in which formats; what is refused, and what is said then."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from nas.architecture import Architecture, read_architecture
from nas.cli.exits import Exit, explain
from nas.export import chosen, export, refuse_occupied, write
from nas.exporter import LeftOut, Winner
from nas.exporters.parity import ParityExporter, difference
from nas.exporters.readme import readme
from nas.history import Entry, History
from nas.logs.sqlite import SqliteLog
from nas.plan import Plan
from nas.winner import costs, find_winner, trained
from search_spaces.decisions import Candidate
from search_spaces.space import Blueprint, Signature
from workers import checkpoint
from workers.artifacts import Artifacts
from workers.errors import DamagedError, NotFoundError, UserError
from workers.objectives import Outcome
from workers.plugins import Spec
from workers.task import Deployed, State
from workers.trial import Result, Trial

OWN_SPACE = """
from dataclasses import dataclass

from search_spaces.decision import Choice
from search_spaces.decisions import Candidate, Decisions
from search_spaces.space import Blueprint, Description, Signature, Space


@dataclass(frozen=True)
class Mine(Space):
    @property
    def decisions(self) -> Decisions:
        return Decisions({"width": Choice((4, 8))})

    def blueprint(self, candidate: Candidate, signature: Signature) -> Blueprint:
        return Blueprint("own_network:Perceptron", {"width": candidate["width"]})

    def describe(self, candidate: Candidate, signature: Signature) -> Description:
        return Description(1, 2, 3)


@dataclass(frozen=True)
class Built(Mine):
    def build(self, candidate: Candidate, signature: Signature):
        from own_network import Perceptron

        return Perceptron(candidate["width"])
"""
OWN_NETWORK = '''
"""A network of a user's own."""

import torch
from torch import nn

from own_layers import flat


class Perceptron(nn.Module):
    """One hidden layer."""

    def __init__(self, width):
        super().__init__()
        self.first, self.last = nn.Linear(64, width), nn.Linear(width, 10)

    def forward(self, image):
        return self.last(torch.relu(self.first(flat(image))))
'''
OWN_LAYERS = '"""Layers."""\n\n\ndef flat(image):\n    return image.flatten(1)\n'


class Kept:
    """A search of a user's own space, with the checkpoint of trial 0 and a test of it."""

    def __init__(self, folder: Path, space: str) -> None:
        self.folder = folder
        for name, source in (("own_space", OWN_SPACE), ("own_network", OWN_NETWORK), ("own_layers", OWN_LAYERS)):
            (folder / f"{name}.py").write_text(source.lstrip())
        task = {"name": "image_classification", "dataset": "digits"}
        job = {"name": "own", "task": task, "space": f"own_space:{space}", "folder": str(folder)}
        self.plan = Plan.of({**job, "journal": str(folder / "home")}, "own")
        self.log = SqliteLog(folder / "home")
        self.log.create("own", self.plan.job.json(), {"torch": "2.13.0", "cellwright": "0.0.9"})
        self.epoch = self.log.acquire("own")
        self.artifacts = Artifacts.open(self.plan.artifacts)
        candidate = Candidate({"width": 8})
        self.network = self.plan.build(candidate).eval()
        state = State(1, {f"model/{name}": tensor for name, tensor in self.network.state_dict().items()})
        self.artifacts.put("own", 0, 1, "checkpoint.safetensors", checkpoint.save(state))
        done = {"accuracy": 0.5, "loss": 1.0, "latency": 0.0125}
        self.told(
            Trial(0, candidate), Result(0, 1, Outcome.COMPLETED, done, 1, 2.0, 1.5, checkpoint="checkpoint.safetensors")
        )
        self.told(Trial(1, candidate), Result(1, 1, Outcome.FAILED, error="DivergedError: nan"))
        self.told(
            Trial(2, candidate), Result(2, 1, Outcome.COMPLETED, done, 1, 2.0, 1.5, checkpoint="checkpoint.safetensors")
        )

    def told(self, trial: Trial, result: Result) -> None:
        rows = [("ask", trial.json()), ("attempt", {"number": 1}), ("tell", result.json())]
        self.log.append("own", self.epoch, [Entry(0, 1e9, kind, trial.id, body) for kind, body in rows])

    def tested(self, trial: int = 3, parent: int = 0) -> None:
        scores = {"test_accuracy": 0.5, "test_loss": 1.0, "test_correct": 180.0, "test_total": 360.0}
        test = Trial(trial, Candidate({"width": 8}), 0, 1, parent=parent, note={"arm": "test"}, split="test")
        self.told(test, Result(trial, 1, Outcome.COMPLETED, scores))


@pytest.fixture
def kept(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Kept]:
    found = Kept(tmp_path, getattr(request, "param", "Mine"))
    yield found
    found.log.close()


LIGHT = ("source", "safetensors", "readme")


def test_a_users_own_network_is_inlined_with_its_neighbours(kept: Kept, tmp_path: Path) -> None:
    folder = export(kept.log, "own", tmp_path / "out", trial=0, formats=[*LIGHT, "parity"])
    source = (folder / "model.py").read_text()
    assert "def flat(image)" in source
    assert "class Perceptron" in source
    assert "own_layers" not in source
    text = (folder / "README.md").read_text()
    assert "`model.py` is taken from Cellwright" in text
    assert "| Latency | 12.5 ms for one example" in text
    record = json.loads((folder / "parity.json").read_text())
    assert record["forms"]["model.py"]["batch 3"]["absolute"] == 0.0
    assert record["test"] == {"checked": False, "reason": record["test"]["reason"]}
    assert "never tested" in record["test"]["reason"]


def test_the_readme_says_beside_what_figures_are_to_be_read(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.tested()
    winner = find_winner(kept.log, "own")
    metrics = {**winner.metrics, "test_loss_real": 0.25, "loss_real": 0.5, "losses": 3.0}
    monkeypatch.setattr(type(winner.task), "measured", "Losses are by features of our own.")
    text = readme(replace(winner, metrics=metrics), kept.folder, {})
    assert "| Test loss | 1 |" in text
    assert "| Loss, real | 0.25 |" in text
    assert text.count("real |") == 1
    assert "|\n\nLosses are by features of our own.\n\n## Files" in text
    monkeypatch.undo()
    assert "real |" not in readme(replace(winner, metrics=metrics), kept.folder, {})


@pytest.mark.parametrize("kept", ["Built"], indirect=True)
def test_a_space_that_builds_in_its_own_way_has_no_source_and_the_readme_says_so(kept: Kept, tmp_path: Path) -> None:
    folder = export(kept.log, "own", tmp_path / "out", trial=0, formats=[*LIGHT, "pt2", "drawing"])
    assert not (folder / "model.py").exists()
    text = (folder / "README.md").read_text()
    assert "no `model.py`: the space builds its networks in its own way" in text
    assert "no `*.svg`: the space describes no graph" in text
    assert 'torch.export.load("model.pt2").module()' in text
    assert text.count("model.py") == 1
    program = torch.export.load(folder / "model.pt2").module()
    for size in (1, 3):
        image = torch.randn(size, 1, 8, 8)
        torch.testing.assert_close(program(image), kept.network(image))


def test_the_tested_trial_is_the_winner(kept: Kept) -> None:
    with pytest.raises(UserError, match=r"has no tested winner yet: `nas resume own`.*--trial N.*: 0, 2"):
        trained(History.of(kept.log.entries("own")), "own")
    kept.tested()
    record, test = trained(History.of(kept.log.entries("own")), "own")
    assert record.trial.id == 0
    assert test is not None
    assert test.trial.id == 3
    assert trained(History.of(kept.log.entries("own")), "own", 3)[0].trial.id == 0
    winner = find_winner(kept.log, "own")
    assert winner.metrics["accuracy"] == 0.5
    assert winner.metrics["test_correct"] == 180.0
    assert winner.versions["search cellwright"] == "0.0.9"
    assert winner.costs["device_seconds"] == 3.0


def test_the_last_test_of_an_extended_search_says_who_won(kept: Kept) -> None:
    kept.tested()
    kept.tested(trial=4, parent=2)
    record, test = trained(History.of(kept.log.entries("own")), "own")
    assert test is not None
    assert (record.trial.id, test.trial.id) == (2, 4)


def test_a_trial_of_its_own_carries_no_test_of_another(kept: Kept) -> None:
    kept.tested()
    assert trained(History.of(kept.log.entries("own")), "own", 2)[1] is None


@pytest.mark.parametrize(
    ("trial", "error", "said"),
    [
        (1, UserError, "trial 1 of own ended as failed without a checkpoint.*--trial N.*: 0, 2"),
        (9, NotFoundError, "own has no trial 9: `nas trials own` lists them"),
        (2, UserError, r"the checkpoint of trial 2 is gone from .*exports one whose checkpoint is kept: 0$"),
    ],
)
def test_a_trial_that_cannot_be_exported_is_told_with_the_remedy(
    kept: Kept, tmp_path: Path, trial: int, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        export(kept.log, "own", tmp_path / "out", trial=trial, formats=LIGHT)
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))


def test_a_damaged_checkpoint_is_no_mistake_of_the_user_and_names_those_to_export_instead(
    kept: Kept, tmp_path: Path
) -> None:
    file = Path(kept.plan.artifacts, "own", "0", "1", "checkpoint.safetensors")
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(DamagedError, match=r"is damaged.*exports one whose checkpoint is kept: 2$") as said:
        export(kept.log, "own", tmp_path / "out", trial=0, formats=LIGHT)
    assert explain(said.value)[1] is Exit.FAILED


def test_a_search_of_settings_alone_has_no_network(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path)
    task = {"name": "stand_ins:SumTask", "scale": {"range": [1.0, 2.0]}}
    log.create("plain", Plan.of({"name": "plain", "task": task}).job.json(), {})
    with pytest.raises(UserError, match=r"plain has no search space: .*`nas best plain` shows the settings"):
        export(log, "plain", tmp_path / "out")
    log.close()


def test_a_search_in_which_all_failed_has_nothing_to_hand_over() -> None:
    history = History.of([Entry(1, 0.0, "state", None, {"state": "failed", "reason": "no trial completed"})])
    with pytest.raises(UserError, match="no trial of sad has completed, so there is nothing to export"):
        trained(history, "sad")


def test_a_checkpoint_of_another_network_is_told(kept: Kept, tmp_path: Path) -> None:
    state = State(1, {"model/other": torch.zeros(1)})
    kept.artifacts.put("own", 0, 1, "checkpoint.safetensors", checkpoint.save(state))
    with pytest.raises(UserError, match="does not fit the network that its space builds now"):
        export(kept.log, "own", tmp_path / "out", trial=0, formats=LIGHT)


def test_an_earlier_export_is_replaced_and_nothing_else(kept: Kept, tmp_path: Path) -> None:
    folder = export(kept.log, "own", tmp_path / "out", trial=0, formats=LIGHT)
    (folder / "cell.svg").write_text("of the network before")
    (folder / "notes.txt").write_text("the user's own")
    again = export(kept.log, "own", folder, trial=0, formats=["safetensors"])
    assert {path.name for path in again.iterdir()} == {"architecture.json", "weights.safetensors", "notes.txt"}
    assert (again / "notes.txt").read_text() == "the user's own"
    assert not list(tmp_path.glob(".out*"))
    for name in ("filled", "odd"):
        (tmp_path / name).mkdir()
    (tmp_path / "filled" / "thesis.tex").write_text("")
    (tmp_path / "odd" / "architecture.json").write_text('{"format": "another"}')
    (tmp_path / "file").write_text("")
    for name, said in (("filled", "is not empty and no earlier export"), ("odd", "not empty"), ("file", "is a file")):
        with pytest.raises(UserError, match=said):
            refuse_occupied(tmp_path / name)
    (tmp_path / "empty").mkdir()
    refuse_occupied(tmp_path / "empty")


def test_an_export_that_fails_leaves_the_earlier_one(kept: Kept, tmp_path: Path) -> None:
    folder = export(kept.log, "own", tmp_path / "out", trial=0, formats=LIGHT)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(UserError):
        export(kept.log, "own", folder, trial=1, formats=LIGHT)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_format_that_does_not_exist_is_told_with_those_that_do() -> None:
    with pytest.raises(NotFoundError, match="did you mean 'onnx'"):
        chosen(["onxx"])


def test_exporters_come_after_those_whose_files_they_read() -> None:
    names = list(chosen())
    for name, exporter in chosen().items():
        assert all(names.index(one) < names.index(name) for one in exporter.after)


def test_a_form_that_answers_differently_is_not_handed_over(kept: Kept, tmp_path: Path) -> None:
    winner = find_winner(kept.log, "own", 0)
    write(winner, tmp_path, chosen(["source", "safetensors"]))
    image = torch.randn(4, 1, 8, 8)
    with torch.no_grad():
        right = kept.network(image)
    ParityExporter().export(replace(winner, examples={"input/image": image, "output/logits": right}), tmp_path, {})
    wrong = replace(winner, examples={"input/image": image, "output/logits": right + 1e-3 * right.abs().max()})
    with pytest.raises(UserError, match=r"model.py gives other outputs than the searched model \(batch 1: relative"):
        ParityExporter().export(wrong, tmp_path, {})


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=8), st.floats(1e-6, 1.0))
def test_the_difference_is_relative_to_the_largest_value(values: list[float], share: float) -> None:
    right = torch.tensor(values, dtype=torch.float64)
    size = float(right.abs().max())
    found = difference([right + share * size], [right])
    assert found["absolute"] == pytest.approx(share * size, abs=1e-9)
    if size > 1e-3:
        assert found["relative"] == pytest.approx(share, rel=1e-6)


def test_nan_and_other_shapes_are_infinitely_different() -> None:
    one = torch.ones(2)
    assert difference([one * float("nan")], [one])["relative"] == float("inf")
    assert difference([torch.ones(3)], [one])["relative"] == float("inf")


def test_an_architecture_of_a_later_version_or_another_file_is_refused(tmp_path: Path) -> None:
    known = Architecture(
        "s", 1, Candidate({"a": 1}), Signature("k", {"x": (1, 2)}), Spec("t"), blueprint=Blueprint("m:C", {})
    )
    record = json.loads(json.dumps(known.json()))
    assert Architecture.from_json(record) == known
    for change, said in (
        ({"schema": 2}, "has schema 2, but this version reads 1 to 1: update"),
        ({"schema": None}, "has schema None"),
        ({"format": "x"}, "is no architecture"),
        ({"candidate": None}, "is damaged"),
    ):
        with pytest.raises(UserError, match=said):
            Architecture.from_json({**record, **change})
    with pytest.raises(NotFoundError, match="nas export"):
        read_architecture(tmp_path)
    (tmp_path / "architecture.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read as JSON"):
        read_architecture(tmp_path)


def test_costs_are_sums_over_all_trials(kept: Kept) -> None:
    found = costs(History.of(kept.log.entries("own")))
    assert found["trials"] == 3
    assert found["epochs"] == 2


def test_the_readme_says_which_of_its_files_take_a_state(kept: Kept) -> None:
    winner = find_winner(kept.log, "own", 0)
    given = (torch.ones(2, 1, 8, 8), torch.ones(2, 5)), ("image", "state"), ("logits", "new_state")
    said = "`model.onnx`, `model.pt2`: from `image` (batch, 1, 8, 8), `state` (batch, 5) to `logits`, `new_state`"
    whole = readme(replace(winner, deployed={"model": Deployed(winner.network, *given)}), kept.folder, {})
    assert f"- `model.py`, {said}\n" in whole
    assert f"- {said}\n" in readme(replace(winner, deployed={"model": Deployed(nn.Flatten(), *given)}), kept.folder, {})


def test_what_cannot_be_converted_is_left_out_with_the_reason(kept: Kept, tmp_path: Path) -> None:
    class Stubborn(nn.Module):
        def forward(self, image: torch.Tensor) -> Any:
            return image * (2 if image.sum() > 0 else 3)

    winner: Winner = find_winner(kept.log, "own", 0)
    winner = replace(winner, deployed={"model": Deployed(Stubborn(), (torch.ones(2, 3),), ("image",), ("logits",))})
    for name in ("pt2", "onnx"):
        with pytest.raises(LeftOut, match="model cannot be"):
            chosen([name])[name].export(winner, tmp_path, {})
