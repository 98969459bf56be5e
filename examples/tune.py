"""Tune a model of your own: a function of decisions that yields metrics. `nas run examples/tune.yaml` searches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import train_test_split


def train(decisions: dict[str, Any]) -> Iterator[dict[str, float]]:
    """One line of metrics per epoch; the last one counts."""
    pixels, digits = load_digits(return_X_y=True)
    train_x, held_x, train_y, held_y = train_test_split(pixels / 16, digits, random_state=0, stratify=digits)
    model = SGDClassifier(
        loss=decisions["loss"],
        alpha=decisions["alpha"],
        learning_rate="constant",
        eta0=decisions["step"],
        random_state=0,
    )
    for _ in range(10):
        model.partial_fit(train_x, train_y, classes=range(10))
        yield {"accuracy": model.score(held_x, held_y)}
