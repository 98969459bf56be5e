"""Small networks that write texts for dates, and what trains them."""

from __future__ import annotations

from random import Random
from typing import Any

import torch
from torch import nn

from search_spaces.decisions import Candidate
from search_spaces.rnn.seq2seq import Seq2SeqSpace
from search_spaces.rnn.seq2seq_network import Seq2SeqNetwork
from workers.tasks.sequence_to_sequence import SequenceToSequence
from workers.text.pair_batches import PairBatch, tensors_of
from workers.text.pair_course import PairCourse, Writing
from workers.trial import Trial

CPU = torch.device("cpu")


def task_of(**options: Any) -> SequenceToSequence:
    return SequenceToSequence(**{"examples": 60, "batch_size": 8, "device": "cpu", **options})


def space_of(**options: Any) -> Seq2SeqSpace:
    few = {"layers": [1], "hidden": [8], "embedding": [6], "dropout": [0.0], "pointer": [False]}
    return Seq2SeqSpace(**{**few, **options})


def model_of(task: SequenceToSequence, **options: Any) -> Seq2SeqNetwork:
    space = space_of(**options)
    torch.manual_seed(5)
    model = space.build(space.decisions.sample(Random(0)), task.signature)
    assert isinstance(model, Seq2SeqNetwork)
    return model


def course_of(task: SequenceToSequence, model: nn.Module, how: Writing | None = None) -> PairCourse:
    return PairCourse(task, how or Writing(), task.pairs, model, Trial(0, Candidate({})), CPU, None)


def a_batch(task: SequenceToSequence, count: int = 5) -> PairBatch:
    return tensors_of(task.pairs, "train").take(range(count), CPU)
