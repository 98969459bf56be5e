"""The task that writes texts for texts: its losses, its sampling, its metrics, and what it hands over."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from pair_networks import CPU, a_batch, course_of, model_of, task_of
from torch import nn
from torch.nn import functional

from search_spaces.decisions import Candidate
from workers.course import scored
from workers.errors import DivergedError, UserError
from workers.task import Epoch
from workers.tasks.sequence_to_sequence import SequenceToSequence
from workers.text.beam import Hypothesis, search
from workers.text.pair_batches import tensors_of
from workers.text.pair_course import PairCourse, Writing, bleu
from workers.text.pair_data import BEGUN, ENDED
from workers.text.pair_recipe import PairRecipe, sampled_share
from workers.trial import Trial


def test_the_loss_is_that_of_the_right_tokens_one_after_the_other() -> None:
    """By a loop over texts and steps, on the network step by step, padding left out."""
    task = task_of()
    model = model_of(task, unit=["lstm"], attention=["additive"], pointer=[True])
    batch, total, count = a_batch(task), 0.0, 0
    loss, tokens = course_of(task, model).loss(batch, torch.Generator())
    with torch.no_grad():
        for source, target in zip(task.pairs.train.sources[:5], task.pairs.train.targets[:5], strict=True):
            read = torch.tensor([source])
            carried, last = model.encode(read), BEGUN
            for token in (*target, ENDED):
                written = model.decode(torch.tensor([[last]]), read, carried)
                total -= float(written.logits[0, 0].softmax(0)[token].log())
                carried, last, count = (*written.state, *carried[2:]), token, count + 1
    assert tokens == count
    assert loss.item() == pytest.approx(total / count, rel=1e-5)


def test_label_smoothing_gives_a_share_to_all_tokens() -> None:
    task = task_of(label_smoothing=0.2)
    model = model_of(task)
    batch = a_batch(task)
    loss, _ = course_of(task, model).loss(batch, torch.Generator())
    with torch.no_grad():
        chances = model(batch.source, batch.given).log_softmax(2)
    size, losses = chances.shape[2], []
    for row, step in (batch.wanted > 0).nonzero().tolist():
        smooth = torch.full((size,), 0.2 / size)
        smooth[int(batch.wanted[row, step])] += 0.8
        losses.append(-float((smooth * chances[row, step]).sum()))
    assert loss.item() == pytest.approx(sum(losses) / len(losses), rel=1e-5)


@pytest.mark.parametrize("attention", ["none", "dot"])
def test_reading_no_own_token_is_teacher_forcing(attention: str) -> None:
    task = task_of()
    model = model_of(task, attention=[attention])
    batch = a_batch(task)
    unrolled = course_of(task, model).unrolled(batch, 0.0, torch.Generator().manual_seed(0))
    inside = batch.wanted > 0
    torch.testing.assert_close(unrolled[inside], model(batch.source, batch.given)[inside])


def test_reading_only_own_tokens_is_what_is_written_greedily() -> None:
    task = task_of()
    model = model_of(task).eval()
    batch, course = a_batch(task), course_of(task, model)
    with torch.no_grad():
        unrolled = course.unrolled(batch, 1.0, torch.Generator()).argmax(2)
        once = model(batch.source, torch.cat((batch.given[:, :1], unrolled[:, :-1]), 1)).argmax(2)
    torch.testing.assert_close(unrolled, once)
    assert not torch.equal(unrolled, model(batch.source, batch.given).argmax(2))


def test_ramps_in_closed_form() -> None:
    linear = [sampled_share(PairRecipe(scheduled_sampling=0.4), epoch, 5) for epoch in range(5)]
    assert linear == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])
    recipe, k = PairRecipe(scheduled_sampling=0.5, ramp="inverse_sigmoid"), 100.0
    for epoch in range(11):  # 1 - k / (k + exp(i / k)), i over the epochs from 0 to 2 k ln k
        step = 2 * k * math.log(k) * epoch / 10
        assert sampled_share(recipe, epoch, 11) == pytest.approx(0.5 * (1 - k / (k + math.exp(step / k))))
    assert sampled_share(recipe, 0, 1) == pytest.approx(0.5 * k / (k + 1))
    assert sampled_share(PairRecipe(), 3, 5) == 0.0


def test_bleu_by_hand() -> None:
    """Of characters, clipped n-grams up to 4 over both texts, and the brevity penalty (Papineni et al. 2002)."""
    outputs, wanted = ["1979-05-03", "2001-1-2"], ["1979-05-13", "2001-10-22"]
    logs = 0.0
    for n in range(1, 5):
        right = total = 0
        for one, other in zip(outputs, wanted, strict=True):
            found, known = (Counter(text[i : i + n] for i in range(len(text) - n + 1)) for text in (one, other))
            right, total = right + (found & known).total(), total + found.total()
        logs += math.log(right / total) / 4
    assert bleu(outputs, wanted, "characters") == pytest.approx(100 * math.exp(1 - 20 / 18) * math.exp(logs))
    assert bleu(wanted, wanted, "characters") == pytest.approx(100)


def test_bleu_of_words_separates_punctuation() -> None:
    """Precisions 9/10, 7/8, 5/6 and 3/4 of equally long texts: "surprising" alone is wrong."""
    found = bleu(
        ["The dog bit the man.", "It was surprising ."], ["The dog bit the man.", "It was unexpected."], "words"
    )
    assert found == pytest.approx(100 * (9 / 10 * 6 / 8 * 4 / 6 * 3 / 4) ** 0.25)


def test_metrics_are_those_of_what_is_written() -> None:
    task = task_of()
    model = model_of(task)
    score = course_of(task, model).score("validation")
    assert score.metrics.keys() == {"exact", "token_accuracy", "bleu", "loss"}
    batch = tensors_of(task.pairs, "validation").take(range(6), CPU)
    with torch.no_grad():
        logits = model.eval()(batch.source, batch.given)
    loss = functional.cross_entropy(logits[batch.wanted > 0], batch.wanted[batch.wanted > 0])
    assert score.metrics["loss"] == pytest.approx(float(loss), rel=1e-5)
    right = (logits.argmax(2) == batch.wanted)[batch.wanted > 0]
    assert score.metrics["token_accuracy"] == pytest.approx(float(right.float().mean()))
    assert score.exhibits["samples.txt"].decode().count("->") == 6
    shown = json.loads(score.exhibits["attention.json"])
    assert len(shown["weights"]) == len(shown["rows"])
    assert all(sum(row) == pytest.approx(1, abs=0.01) for row in shown["weights"])


def test_a_right_output_counts_and_a_wrong_one_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    task = task_of()
    part = task.pairs.validation
    right = {source: (*target, ENDED) for source, target in zip(part.sources, part.targets, strict=True)}
    right[part.sources[2]] = (*part.targets[2], part.targets[2][0], ENDED)

    def written(self: PairCourse, source: torch.Tensor) -> list[tuple[int, ...]]:
        return [right[tuple(token for token in row if token)] for row in source.tolist()]

    monkeypatch.setattr(PairCourse, "written", written)
    score = course_of(task, model_of(task, attention=["none"])).score("validation")
    assert score.metrics["exact"] == pytest.approx(5 / 6)
    assert score.exhibits["samples.txt"].decode().count("(right)") == 5
    assert "attention.json" not in score.exhibits


def test_beams_are_rescored_by_what_is_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written is the best of the beam by both models, and not what the network alone prefers."""
    import workers.text.pair_course as module

    task, kept = task_of(), []
    model = model_of(task).eval()

    def recorded(*given: Any) -> list[list[Hypothesis]]:
        kept.append(search(*given))
        return kept[-1]

    monkeypatch.setattr(module, "search", recorded)
    course = course_of(task, model, Writing(beam=20, weight=2.0))
    scorer = course.ranking.scorer
    assert scorer is not None
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(4)  # untrained it would hardly tell one token from another
        found = course.written(tensors_of(task.pairs, "validation").take(range(6), CPU).source)
    sums = [[one.log_probability + 2 * scorer(one.tokens) for one in many] for many in kept[0]]
    best = [many[values.index(max(values))].tokens for many, values in zip(kept[0], sums, strict=True)]
    assert found == best
    assert found != [max(many, key=lambda one: one.log_probability).tokens for many in kept[0]]


def test_an_untrained_network_never_writes_padding_or_a_second_begin() -> None:
    task = task_of()
    model = model_of(task)
    with torch.no_grad():
        model.output.bias[:2] = 100.0
        found = course_of(task, model.eval(), Writing(beam=3)).written(a_batch(task).source)
    assert all(min(one) >= ENDED for one in found)


@pytest.mark.parametrize("beam", [1, 3])
def test_a_network_whose_weights_are_no_numbers_has_diverged(beam: int) -> None:
    task = task_of()
    model = model_of(task)
    with torch.no_grad():
        model.output.weight.fill_(math.nan)
    course = course_of(task, model, Writing(beam))
    with pytest.raises(DivergedError, match="the loss on the validation part is nan: a lower learning rate"):
        scored(course, Trial(1, Candidate({})), {}, None)


def test_it_learns_and_goes_on_exactly() -> None:
    """Dates without words, a small network: the loss falls, and 3 epochs are 1 epoch and 2 more, bit for bit."""
    task = task_of(examples=100, scheduled_sampling=0.3, label_smoothing=0.1, learning_rate=0.01)
    options = {"unit": ["gru"], "attention": ["general"], "dropout": [0.2], "pointer": [True]}

    def trained(epochs: int, state: Any = None, model: nn.Module | None = None) -> list[Epoch]:
        trial = Trial(1, Candidate({}), epochs, 3, seed=4)
        return list(task.train(model or model_of(task, **options), trial, state))

    straight = trained(3)
    assert straight[-1].metrics["loss"] < straight[0].metrics["loss"] < 4.2
    later = trained(3, trained(1)[-1].state)
    assert later[-1].metrics == straight[-1].metrics
    first, second = straight[-1].state, later[-1].state
    assert first is not None
    assert second is not None
    assert all(torch.equal(first.tensors[name], second.tensors[name]) for name in first.tensors)


def test_the_test_part_is_counted_and_its_answers_are_kept() -> None:
    task = task_of()
    model = model_of(task, unit=["lstm"], attention=["additive"])
    (last,) = task.train(model, Trial(1, Candidate({}), 0, 1, split="test"), None)
    assert last.metrics["test_total"] == 6
    assert last.metrics["test_exact"] == last.metrics["test_correct"] / 6
    deployed = task.deployable(model, Candidate({}))["encoder"]
    inputs = [last.examples[f"input/{name}"] for name in deployed.inputs]
    outputs = [last.examples[f"output/{name}"] for name in deployed.outputs]
    for found, right in zip(deployed.module(*inputs), outputs, strict=True):
        torch.testing.assert_close(found, right)
    assert inputs[0].shape == (8, task.signature.inputs["source"][0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dataset": "pairs"}, "must be dates, or the path"),
        ({"tokens": "syllables"}, "one of characters, words"),
        ({"beam": 0}, "beam is 0"),
        ({"rescoring": 0.5}, "set beam to 5"),
        ({"length_penalty": -1.0}, "from 0 to 10"),
        ({"device": "gpu"}, "auto, cpu, cuda"),
        ({"test": 1.0}, "a share between 0 and 1"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        SequenceToSequence(**options)


def test_a_network_that_cannot_write_step_by_step_is_refused() -> None:
    with pytest.raises(UserError, match="Linear has no carries"):
        list(task_of().train(nn.Linear(1, 1), Trial(1, Candidate({}), 1, 1), None))
    with pytest.raises(UserError, match="space: seq2seq"):
        list(task_of().train(None, Trial(1, Candidate({}), 1, 1), None))


def test_preprocessing_makes_the_numbers_of_the_data() -> None:
    """By what an export says of itself, and not by the functions that did it."""
    task = task_of()
    said = json.loads(json.dumps(dict(task.preprocessing)))
    number = {token: place for place, token in enumerate(said["vocabulary"])}
    assert [number[token] for token in ("<pad>", "<bos>", "<eos>", "<unk>")] == [0, BEGUN, ENDED, 3]
    part = task.pairs.train
    for numbers, text in zip(part.targets, part.wanted, strict=True):
        assert list(numbers) == [number[token] for token in eval(said["tokens"], {"text": text})]
    assert all(numbers[-1] == number["<eos>"] for numbers in part.sources)


def test_a_file_of_words_is_learned_from(tmp_path: Path) -> None:
    rows = "".join(f"say {word} {n},{word} twice {word}\n" for n in range(10) for word in ("red", "blue", "green"))
    path = tmp_path / "pairs.csv"
    path.write_text("source,target\n" + rows)
    task = task_of(dataset=str(path), tokens="words")
    assert task.located() == {"dataset": str(path)}
    last = list(task.train(model_of(task), Trial(1, Candidate({}), 1, 1), None))[-1]
    assert 0 <= last.metrics["bleu"] <= 100
    assert b" twice " in last.exhibits["samples.txt"]
