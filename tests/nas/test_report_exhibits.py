"""What trainings left for people to look at, in a report."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
import torch
from histories import Invented

from nas.reports.exhibits import collected, exhibits, spread
from nas.reports.page import Exhibit, Subject
from workers.artifacts import Artifacts
from workers.child import EXHIBIT
from workers.exhibits import attention, picture


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    return Artifacts.open(str(tmp_path))


def subject(*shown: Exhibit) -> Subject:
    invented = Invented(trials=5)
    return Subject(invented.header(), invented.history(), (), exhibits=shown)


def test_exhibits_are_of_the_attempts_that_counted_and_a_few_epochs(artifacts: Artifacts) -> None:
    for epoch in range(1, 21):
        artifacts.put("one", 3, 2, f"{EXHIBIT}{epoch:05}-samples.txt", f"text {epoch}".encode())
    artifacts.put("one", 3, 1, f"{EXHIBIT}00001-lost.txt", b"of a lost attempt")
    artifacts.put("one", 4, 1, f"{EXHIBIT}00020-samples.txt", b"of another trial")
    artifacts.put("one", 3, 2, "checkpoint.safetensors", b"no exhibit")
    found = collected(artifacts, "one", {3: 2})
    assert [one.epoch for one in found] == [1, 5, 9, 12, 16, 20]
    assert found[-1] == Exhibit("samples.txt", 20, 3, b"text 20")


def test_of_two_trials_of_one_epoch_the_later_is_shown(artifacts: Artifacts) -> None:
    for trial in (8, 11):
        artifacts.put("one", trial, 1, f"{EXHIBIT}00002-samples.txt", f"by {trial}".encode())
    assert [one.trial for one in collected(artifacts, "one", {8: 1, 11: 1})] == [11]


def test_epochs_are_spread_with_both_ends() -> None:
    assert spread([4, 9]) == [4, 9]
    for count in range(7, 60):
        chosen = spread(list(range(count)))
        assert (chosen[0], chosen[-1], len(set(chosen))) == (0, count - 1, 6)


def test_pictures_stand_side_by_side_and_texts_cannot_break_the_page() -> None:
    image = picture([torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(0))])
    text = exhibits(
        subject(
            Exhibit("samples.png", 1, 7, image),
            Exhibit("samples.png", 2, 7, image),
            Exhibit("story.txt", 1, 7, b"<script>early</script>"),
            Exhibit("story.txt", 2, 7, "late & \u2603".encode()),
        )
    )
    assert text.count(base64.b64encode(image).decode()) == 2
    assert "after 1 epoch<" in text
    assert "<script>" not in text
    assert text.index("late &amp; \u2603") < text.index("&lt;script&gt;early")


def test_attention_is_a_table_as_dark_as_the_weights() -> None:
    shown = exhibits(
        subject(Exhibit("attention.json", 3, 1, attention(["a", " "], ["x", "<y>"], [[0.25, 0.75], [1.0, 0.0]])))
    )
    assert "&lt;y&gt;" in shown
    assert [shown.count(f"--looked-at: {share}%") for share in (25, 75, 100, 0)] == [1, 1, 1, 1]


def test_a_search_that_left_nothing_has_no_such_section() -> None:
    assert exhibits(subject()) == ""


def test_a_picture_is_a_png_of_all_images() -> None:
    from io import BytesIO

    from PIL import Image

    rows = [torch.zeros(3, 1, 5, 4), torch.ones(2, 3, 5, 4)]
    made = Image.open(BytesIO(picture(rows, scale=2)))
    assert made.size == ((3 * 4 + 2 * 2) * 2, (2 * 5 + 2) * 2)
    assert made.getpixel((0, 0)) == (0, 0, 0)
    assert made.getpixel((0, 7 * 2)) == (255, 255, 255)
