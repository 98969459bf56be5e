from __future__ import annotations

import math
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from gru_space import GruNet, GruSpace
from torch import Tensor, nn
from torch.nn import functional

from search_spaces.decisions import Candidate
from workers.checkpoint import load, save
from workers.errors import DivergedError, UserError
from workers.plugins import Spec
from workers.task import Epoch, State
from workers.tasks.language_model import LanguageModel
from workers.text.language_course import derived_metrics, penalty, watch_last_layer
from workers.trial import Trial
from workers.workshop import space_of

CANDIDATE = Candidate({"hidden": 8})
SPACE = GruSpace(dropout=0.2)
SMALL: dict[str, Any] = {
    "train_tokens": 1500,
    "validation_tokens": 300,
    "batch_size": 6,
    "steps": 16,
    "learning_rate": 0.01,
    "sample_tokens": 20,
}
STACK: dict[str, Any] = {"for_task": "language_model", "units": ["gru"], "hidden": [6], "embedding": [6]}
EVERYTHING = {**SMALL, "random_steps": True, "activation_penalty": 0.5, "temporal_penalty": 0.3, "l1": 1e-4}


def network(task: LanguageModel, seed: int = 0, space: GruSpace = SPACE) -> GruNet:
    torch.manual_seed(seed)
    built = space.blueprint(CANDIDATE, task.signature).build()
    assert isinstance(built, GruNet)
    return built


def train(task: LanguageModel, epochs: int, state: State | None = None, **trial: Any) -> list[Epoch]:
    model = network(task, seed=0 if state is None else 99)
    return list(task.train(model, Trial(1, CANDIDATE, epochs=epochs, horizon=4, **trial), state))


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_training_goes_on_exactly_from_a_checkpoint(optimizer: str) -> None:
    """With everything random switched on, and torch's global generator spoilt in between."""
    task = LanguageModel(**{**EVERYTHING, "optimizer": optimizer})
    straight, half = train(task, 4, seed=3), train(task, 2, seed=3)
    assert half[-1].state is not None
    torch.manual_seed(12345)
    rest = train(task, 4, load(save(half[-1].state)), seed=3)
    assert [one.metrics for one in (*half, *rest)] == [one.metrics for one in straight]
    assert [one.exhibits for one in (*half, *rest)] == [one.exhibits for one in straight]
    last, expected = rest[-1].state, straight[-1].state
    assert last is not None
    assert expected is not None
    assert all(torch.equal(last.tensors[name], expected.tensors[name]) for name in expected.tensors)
    assert train(task, 4, seed=4)[-1].metrics != straight[-1].metrics


@pytest.mark.parametrize("batch_size", [2, 7])
def test_training_is_a_plain_loop_over_streams(batch_size: int) -> None:
    """With torch's own GRU, loss, clipping and Adam; the state goes from window to window, gradients do not."""
    task = LanguageModel(**{**SMALL, "batch_size": batch_size, "schedule": "constant", "gradient_clipping": 0.3})
    without = GruSpace(dropout=0.0)
    model, plain = network(task, 1, without), network(task, 1, without)
    trial = Trial(1, CANDIDATE, epochs=2, horizon=2)
    losses = [one.metrics["train_loss"] for one in task.train(model, trial, None)]

    adam = torch.optim.Adam(plain.parameters(), 0.01)
    tokens = torch.from_numpy(task.corpus.train).long()
    length = (len(tokens) - 1) // batch_size
    inputs = torch.stack([tokens[row * length : row * length + length] for row in range(batch_size)])
    targets = torch.stack([tokens[row * length + 1 : row * length + length + 1] for row in range(batch_size)])
    for epoch in range(2):
        state, total = None, 0.0
        for start in range(0, length, 16):
            logits, state = plain(inputs[:, start : start + 16], state)
            wanted = targets[:, start : start + 16]
            loss = functional.cross_entropy(logits.transpose(1, 2), wanted)
            adam.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(plain.parameters(), 0.3)
            adam.step()
            state = state.detach()
            total += loss.item() * wanted.numel()
        assert losses[epoch] == pytest.approx(total / inputs.numel(), rel=1e-5)
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_windows_of_random_length_take_steps_in_proportion(monkeypatch: pytest.MonkeyPatch) -> None:
    task = LanguageModel(**{**SMALL, "random_steps": True, "schedule": "constant", "optimizer": "sgd"})
    taken: list[tuple[int, float]] = []
    forward = GruNet.forward

    def read(self: GruNet, tokens: Tensor, *state: Tensor) -> Any:
        taken.append((tokens.shape[1], 0.0))
        return forward(self, tokens, *state)

    monkeypatch.setattr(GruNet, "forward", read)
    step = torch.optim.SGD.step

    def stepped(self: torch.optim.SGD, *given: Any) -> Any:
        taken[-1] = (taken[-1][0], self.param_groups[0]["lr"])
        return step(self, *given)

    monkeypatch.setattr(torch.optim.SGD, "step", stepped)
    train(task, 1)
    stepped_on = [(steps, rate) for steps, rate in taken if rate]
    assert sum(steps for steps, _ in stepped_on) == 1499 // 6
    assert len({steps for steps, _ in stepped_on}) > 3
    assert all(rate == pytest.approx(0.01 * steps / 16) for steps, rate in stepped_on)


def test_the_score_needs_neither_the_batch_nor_the_window() -> None:
    """It is that of one pass over the whole part, without dropout."""
    state = train(LanguageModel(**SMALL), 1)[-1].state
    assert state is not None
    for batch_size, steps in ((6, 16), (100, 3)):
        task = LanguageModel(**{**SMALL, "batch_size": batch_size, "steps": steps, "evaluation_streams": 1})
        model, part = network(task), torch.from_numpy(task.corpus.validation).long()
        (scored,) = task.train(model, Trial(1, CANDIDATE, epochs=1), state)
        logits = model.eval()(part[None, :-1])[0].detach()
        expected = functional.cross_entropy(logits[0], part[1:])
        assert scored.metrics["loss"] == pytest.approx(expected.item(), rel=1e-5)


def test_the_test_part_is_read_once_and_proves_an_export() -> None:
    task = LanguageModel(**SMALL)
    first, last = train(task, 2, split="test")
    assert set(first.metrics) == {"train_loss"}
    assert (first.examples, first.exhibits) == ({}, {})
    assert set(last.metrics) == {"train_loss", "test_loss", "test_bits_per_character"}
    assert list(last.examples) == ["input/tokens", "input/state0", "output/logits", "output/new_state0"]
    assert {len(one) for one in last.examples.values()} == {8}
    assert last.state is not None
    model = network(task, 5)
    model.load_state_dict({n.removeprefix("model/"): t for n, t in last.state.tensors.items() if n.startswith("model")})
    logits, state = model.eval()(last.examples["input/tokens"], last.examples["input/state0"])
    torch.testing.assert_close(logits, last.examples["output/logits"])
    torch.testing.assert_close(state, last.examples["output/new_state0"])
    assert not any(one.requires_grad for one in last.examples.values())


@pytest.mark.filterwarnings("ignore:The tensor attributes self.gru")  # torch's own GRU, when it is traced
def test_what_is_deployed_survives_export_with_any_batch() -> None:
    task = LanguageModel(**SMALL)
    model = network(task)
    deployed = task.deployable(model, CANDIDATE)["model"]
    assert deployed.inputs == ("tokens", "state0")
    assert deployed.outputs == ("logits", "new_state0")
    assert [tuple(one.shape) for one in deployed.examples] == [(2, 1), (2, 1, 8)]
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(deployed.module, deployed.examples, dynamic_shapes=({0: batch}, {0: batch}))
    five = (torch.arange(5)[:, None], torch.randn(5, 1, 8))
    torch.testing.assert_close(program.module()(*five), model(*five))


def test_samples_go_on_with_the_validation_part() -> None:
    task = LanguageModel(**SMALL)
    text = train(task, 1)[-1].exhibits["samples.txt"].decode()
    vocabulary, given = task.corpus.vocabulary, task.corpus.validation[:40].tolist()
    assert text.startswith("[given]\n" + "".join(vocabulary.decode(given)) + "\n\n[drawn at temperature 0.8]\n")
    assert len(text.rpartition("temperature 0.8]\n")[2]) == 21
    assert train(LanguageModel(**{**SMALL, "sample_tokens": 0}), 1)[-1].exhibits == {}


def test_another_seed_draws_another_sample_of_the_same_model() -> None:
    task, drawn = LanguageModel(**SMALL), []
    state = train(task, 1)[-1].state
    for seed in (1, 1, 2):
        (scored,) = task.train(network(task), Trial(1, CANDIDATE, epochs=1, seed=seed), state)
        drawn.append(scored.exhibits["samples.txt"])
    assert drawn[0] == drawn[1] != drawn[2]


def test_words_are_scored_by_their_perplexity(tmp_path: Path) -> None:
    words = [Random(1).choice(["to", "be", "or", "not"]) for _ in range(600)]
    (tmp_path / "text").write_text("\n".join(" ".join(words[place : place + 6]) for place in range(0, 600, 6)))
    task = LanguageModel(**{**SMALL, "dataset": "file", "root": str(tmp_path / "text"), "unit": "words", "epochs": 3})
    assert [one.metric for one in task.objectives] == ["perplexity", "loss"]
    metrics = train(task, 3)[-1].metrics
    assert metrics["perplexity"] == pytest.approx(math.exp(metrics["loss"]))
    assert "\n" in train(task, 1)[-1].exhibits["samples.txt"].decode()
    assert task.located() == {"root": str(tmp_path / "text")}


def test_what_a_loss_is_called() -> None:
    assert derived_metrics(math.log(2) * 1.5, "characters") == {"bits_per_character": pytest.approx(1.5)}
    assert derived_metrics(math.log(90), "words") == {"perplexity": pytest.approx(90)}
    assert derived_metrics(1e4, "words") == {"perplexity": math.inf}


def test_penalties_are_those_of_their_paper() -> None:
    """In closed form, and their gradient against finite differences."""
    layer = torch.tensor([[[1.0, 2.0], [3.0, -1.0]]], dtype=torch.float64, requires_grad=True)
    assert penalty(layer, 2.0, 0.0).item() == pytest.approx(2 * (1 + 4 + 9 + 1) / 4)
    assert penalty(layer, 0.0, 1.0).item() == pytest.approx((4 + 9) / 2)
    assert torch.autograd.gradcheck(lambda x: penalty(x, 2.0, 3.0), (layer,))
    assert penalty(layer[:, :1], 0.0, 1.0).item() == 0


def test_penalties_reach_the_network_and_leave_nothing_on_it() -> None:
    plain, strong = (LanguageModel(**{**SMALL, "activation_penalty": weight}) for weight in (0.0, 50.0))
    sizes = []
    for task in (plain, strong):
        model = network(task)
        losses = [one.metrics for one in task.train(model, Trial(1, CANDIDATE, epochs=2, horizon=2), None)]
        hidden: list[Tensor] = []
        hook = model.output.register_forward_pre_hook(lambda module, inputs: hidden.append(inputs[0]))  # noqa: B023
        model(torch.from_numpy(task.corpus.train[:200]).long()[None])
        hook.remove()
        sizes.append(float(hidden[0].detach().pow(2).mean()))
        assert not any(module._forward_pre_hooks or module._forward_hooks for module in model.modules())
        assert losses[-1]["train_loss"] > 0
    assert sizes[1] < sizes[0] / 2
    with pytest.raises(UserError, match="activation_penalty and temporal_penalty to 0"):
        watch_last_layer(nn.Embedding(3, 3), 3, hidden.append)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("space", ["recurrent_cell", "recurrent_stack"])
def test_penalties_see_what_the_logits_of_a_space_are_read_from(space: str, tied: bool) -> None:
    """They are a linear map of it: by as many tokens as it is wide, the others' logits are found."""
    spec = Spec(space, {"hidden": 6, "tied": tied} if space == "recurrent_cell" else {**STACK, "tied": [tied]})
    found, signature = space_of(spec), LanguageModel(**SMALL).signature
    torch.manual_seed(0)
    model = found.build(found.decisions.sample(Random(0)), signature).eval()
    seen: list[Tensor] = []
    watch_last_layer(model, signature.vocabularies["tokens"], seen.append)
    logits = model(torch.arange(40).view(2, 20))[0].detach().double().flatten(0, 1)
    last = torch.cat([seen[0].detach().double().flatten(0, 1), torch.ones(40, 1)], 1)
    assert last.shape == (40, 7)
    weights = torch.linalg.lstsq(last, logits).solution
    torch.testing.assert_close(last @ weights, logits, rtol=1e-4, atol=1e-5)


def test_what_is_far_worse_than_guessing_has_diverged() -> None:
    task = LanguageModel(**SMALL)
    model = network(task)
    with torch.no_grad():
        model.load_state_dict({name: 200 * value for name, value in model.state_dict().items()})
    trial = Trial(1, CANDIDATE, epochs=0)
    state = State(1, {f"model/{name}": value for name, value in model.state_dict().items()})
    with pytest.raises(DivergedError, match="guessing evenly"):
        list(task.train(model, trial, state))


def test_what_cannot_be_trained_is_said() -> None:
    for option in ("batch_size", "steps"):
        with pytest.raises(UserError, match=f"{option} is 2000, but the training part has only 1500 tokens: set a sm"):
            LanguageModel(**{**SMALL, option: 2000}).prepare()
    left = LanguageModel(**{**SMALL, "batch_size": {"choice": [2000, 4]}})
    with pytest.raises(UserError, match="batch_size is 2000, but"):
        list(left.train(network(left), Trial(1, Candidate({**CANDIDATE, "batch_size": 2000})), None))
    with pytest.raises(UserError, match="add `space`"):
        next(iter(left.train(None, Trial(1, CANDIDATE), None)))
    model = network(LanguageModel(**SMALL))
    nn.init.constant_(model.output.bias, math.nan)
    with pytest.raises(DivergedError, match="lower learning rate"):
        next(iter(LanguageModel(**SMALL).train(model, Trial(1, CANDIDATE), None)))


def test_a_minibatch_is_cut_from_the_training_part() -> None:
    task = LanguageModel(**SMALL)
    (tokens,) = task.minibatch(5, seed=1)
    assert tokens.shape == (5, 16)
    text = task.corpus.train.tolist()
    assert all(any(text[at : at + 16] == row for at in range(len(text))) for row in tokens.tolist())
    assert torch.equal(tokens, task.minibatch(5, seed=1)[0])
    assert not torch.equal(tokens, task.minibatch(5, seed=2)[0])


def test_settings_left_to_the_search_come_from_the_candidate() -> None:
    task = LanguageModel(**{**SMALL, "learning_rate": {"range": [1e-9, 0.1], "log": True}})
    assert list(task.decisions) == ["learning_rate"]
    still = Trial(1, Candidate({"hidden": 8, "learning_rate": 1e-9}), epochs=1)
    model, before = network(task), network(task)
    list(task.train(model, still, None))
    for ours, theirs in zip(model.parameters(), before.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
