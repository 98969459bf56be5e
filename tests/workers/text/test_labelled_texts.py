"""Labelled texts: tokens, CSV files, folders, what comes with Python, and how they are divided."""

from __future__ import annotations

import csv
import gzip
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workers.errors import NotFoundError, UserError
from workers.image_data import Division
from workers.text.documentation import SUBJECTS, Documentation
from workers.text.labelled import Labelled
from workers.text.text_data import Reading, divide, text_data
from workers.text.text_folder import TextFolder
from workers.text.text_table import TextTable
from workers.text.tokenizing import sentences_of, tokens_of

ANY = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)


def table(path: Path, rows: list[list[str]]) -> Path:
    with (
        gzip.open(path, "wt", newline="", encoding="utf-8")
        if path.suffix == ".gz"
        else path.open("w", newline="", encoding="utf-8") as file
    ):
        csv.writer(file).writerows(rows)
    return path


def test_words_are_cut_as_published() -> None:
    assert tokens_of("Don't you've (yes)! A cat's tail; 3.5 e.g. l'Été?", "words") == [
        *("do", "n't", "you", "'ve", "(", "yes", ")", "!", "a", "cat", "'s", "tail", "3", "5", "e", "g", "l", "été"),
        "?",
    ]
    assert tokens_of("  A b-c\n", "blanks") == ["A", "b-c"]
    assert tokens_of("aB ", "characters") == ["a", "B", " "]
    assert tokens_of(" \n", "words") == []


@given(ANY)
def test_words_that_were_cut_stay_as_they_are(text: str) -> None:
    words = tokens_of(text, "words")
    assert tokens_of(" ".join(words), "words") == words


def test_sentences_end_at_marks_and_paragraphs() -> None:
    assert sentences_of("One. Two, too! Three\n\nFour? ") == ["One.", "Two, too!", "Three", "Four?"]
    assert sentences_of(" ") == []


@pytest.mark.parametrize("suffix", ["csv", "csv.gz"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(texts=st.lists(st.tuples(ANY, st.sampled_from(["a", "b, c", '"d"'])), max_size=6))
def test_a_table_gives_back_what_was_written(tmp_path: Path, suffix: str, texts: list[tuple[str, str]]) -> None:
    path = table(tmp_path / f"written.{suffix}", [["label", "text"], *([label, text] for text, label in texts)])
    found = TextTable(path).read()
    assert list(zip(found.texts, found.labels, strict=True)) == texts
    assert set(found.parts) <= {""}


def test_a_whole_book_is_one_field(tmp_path: Path) -> None:
    book, limit = "word " * 40_000, csv.field_size_limit()
    assert list(TextTable(table(tmp_path / "book.csv", [["label", "text"], ["a", book]])).read().texts) == [book]
    assert csv.field_size_limit() == limit


def test_columns_subsets_and_parts_are_named(tmp_path: Path) -> None:
    path = table(
        tmp_path / "named.csv",
        [["set", "part", "kind", "said"], ["A", "Train", "x", "one"], ["B", "dev", "y", "two"], ["A", "all", "y", ""]],
    )
    found = TextTable(path, "said", "kind", "part", "A", "set").read()
    assert (list(found.texts), list(found.labels), list(found.parts)) == (["one", ""], ["x", "y"], ["train", ""])
    assert list(TextTable(path, "said", "kind", "part", "B", "set").read().parts) == ["validation"]


@pytest.mark.parametrize(
    ("content", "options", "said"),
    [
        ("a,b\n1,2\n", {}, "has the columns 'a', 'b', but text_column is 'text': name one of them"),
        ("text,label\n1,2\n", {"label": "kind"}, "label_column is 'kind'"),
        ("text,label\n1,2\n", {"split": "part"}, "split_column is 'part'"),
        ("text,label\n1,2\n", {"subset": "TREC"}, "subset_column is 'dataset'"),
        ("text,label,dataset\n1,2,MR\n", {"subset": "TREC"}, "subset is 'TREC', but dataset of .* holds MR"),
        ("text,label\n1\n", {}, "line 2 of .* has not as many fields"),
        ("text,label\n1,2,3\n", {}, "line 2 of .* has not as many fields"),
        ("text,label\n1, \n", {}, "line 2 of .* has no label"),
        ("text,label,split\n1,2,late\n", {}, "line 2 of .* has the split 'late'"),
        ('text,label\n"1,2\n', {}, "is no CSV that can be read"),
        ("", {}, "has the columns none"),
    ],
)
def test_what_is_wrong_with_a_table_is_said(tmp_path: Path, content: str, options: dict[str, str], said: str) -> None:
    path = tmp_path / "wrong.csv"
    path.write_text(content)
    with pytest.raises(UserError, match=said):
        TextTable(path, **options).read()


def test_files_that_are_missing_damaged_or_of_another_code_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"there is no file .*none\.csv: name"):
        TextTable(tmp_path / "none.csv").stamp()
    (tmp_path / "torn.csv.gz").write_bytes(gzip.compress(b"text,label\n" + b"a,b\n" * 9)[:-12])
    with pytest.raises(UserError, match="cannot be read"):
        TextTable(tmp_path / "torn.csv.gz").read()
    (tmp_path / "latin.csv").write_bytes("text,label\nä,b\n".encode("latin-1"))
    with pytest.raises(UserError, match="not in UTF-8"):
        TextTable(tmp_path / "latin.csv").read()


def test_a_folder_per_class_is_read_divided_or_not(tmp_path: Path) -> None:
    for part, label, text in (
        ("train", "x", "one"),
        ("train", "y", ""),
        ("test", "x", "two"),
        ("valid", "y", "drei ü"),
    ):
        (tmp_path / part / label).mkdir(parents=True, exist_ok=True)
        (tmp_path / part / label / "1.txt").write_text(text, encoding="utf-8")
    found = TextFolder(tmp_path).read()
    rows = sorted(zip(found.parts, found.labels, found.texts, strict=True))
    assert rows == [("test", "x", "two"), ("train", "x", "one"), ("train", "y", ""), ("validation", "y", "drei ü")]
    assert set(TextFolder(tmp_path / "train").read().parts) == {""}
    (tmp_path / "extra" / "x").mkdir(parents=True)
    with pytest.raises(UserError, match="holds extra beside train"):
        TextFolder(tmp_path).read()
    with pytest.raises(UserError, match=r"holds no \.txt file"):
        TextFolder(tmp_path / "extra").read()
    with pytest.raises(NotFoundError, match="there is no folder"):
        TextFolder(tmp_path / "none").stamp()


def test_one_class_is_too_few_and_every_class_must_be_learned() -> None:
    with pytest.raises(UserError, match="only the class 'x', but at least 2"):
        Labelled(["a"], ["x"], [""]).classes("here")
    with pytest.raises(UserError, match="here holds no text"):
        Labelled([], [], []).classes("here")
    with pytest.raises(UserError, match="the class 'y' of here has no text to be learned from"):
        Labelled(["a", "b"], ["x", "y"], ["train", "test"]).classes("here")
    assert Labelled([""] * 3, ["10", "9", "b"], [""] * 3).classes("here") == ("9", "10", "b")


def test_python_brings_a_thousand_paragraphs_of_six_subjects() -> None:
    found = Documentation().read()
    counts = Counter(found.labels)
    assert set(counts) == set(SUBJECTS)
    assert min(counts.values()) > 60
    assert 700 < len(found.texts) == len(set(found.texts)) < 2500
    assert Documentation().read() == found


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["train", "validation", "test", ""])), min_size=60),
    st.integers(0, 3),
)
def test_every_text_has_one_part_and_keeps_the_one_it_has(rows: list[tuple[str, str]], seed: int) -> None:
    rows += [(label, "") for label in "abc" for _ in range(10)]
    labelled = Labelled([str(i) for i in range(len(rows))], [label for label, _ in rows], [part for _, part in rows])
    divided = dict(zip(("train", "validation", "test"), divide(labelled, Division(seed), "here"), strict=True))
    assert sorted(row for part in divided.values() for row in part) == list(range(len(rows)))
    given_parts = {part for _, part in rows}
    for name, found in divided.items():
        assert {row for row in found if rows[row][1] not in ("", "train")} <= {
            row for row in range(len(rows)) if rows[row][1] == name
        }
        if name in given_parts - {"train"}:
            assert {rows[row][1] for row in found} == {name}


def test_classes_have_their_shares_and_limits_hold() -> None:
    labels = ["a"] * 600 + ["b"] * 300 + ["c"] * 100
    labelled = Labelled([""] * 1000, labels, [""] * 1000)
    train, validation, test = divide(labelled, Division(train_examples=100, validation_examples=50), "here")
    assert Counter(labels[row] for row in test) == {"a": 120, "b": 60, "c": 20}
    assert Counter(labels[row] for row in train) == {"a": 60, "b": 30, "c": 10}
    assert Counter(labels[row] for row in validation) == {"a": 30, "b": 15, "c": 5}
    assert divide(labelled, Division(seed=1), "here") != divide(labelled, Division(), "here")
    with pytest.raises(UserError, match="no text of here is left for the validation part of 3"):
        divide(Labelled([""] * 3, ["a", "b", "b"], [""] * 3), Division(), "here")


def test_numbers_are_places_in_the_vocabulary_of_the_training_part(tmp_path: Path) -> None:
    rows = [["a", "red Red blue", "train"], ["b", "", "train"], ["a", "red green", "validation"], ["b", "red", "test"]]
    path = table(tmp_path / "colours.csv", [["label", "text", "split"], *rows])
    data = text_data(TextTable(path), Division(), Reading(length=2))
    assert data.vocabulary.tokens == ("<pad>", "<unk>", "red")
    assert [list(part.texts) for part in (data.train, data.validation, data.test)] == [
        [((2, 2),), ()],
        [((2, 1),)],
        [((2,),)],
    ]
    assert data.shape == (2,)
    assert text_data(TextTable(path), Division(), Reading(length=2)) is data
    table(path, [["label", "text", "split"], *rows, ["b", "more", "train"]])
    assert len(text_data(TextTable(path), Division(), Reading(length=2)).train) == 3


def test_no_text_is_longer_than_what_a_network_is_exported_for(tmp_path: Path) -> None:
    rows = [["a", "red. red red", "train"], ["b", "red", "train"], ["a", "red red red. red. red", "validation"]]
    path = table(tmp_path / "long.csv", [["label", "text", "split"], *rows, ["b", "red red red", "test"]])
    single = text_data(TextTable(path), Division(), Reading())
    assert (single.shape, single.validation.texts[0], single.test.texts[0]) == ((3,), ((2, 2, 2),), ((2, 2, 2),))
    documents = text_data(TextTable(path), Division(), Reading(sentences=9))
    assert documents.shape == (2, 2)
    assert (documents.validation.texts[0], documents.test.texts[0]) == (((2, 2), (2,)), ((2, 2),))


def test_what_is_written_as_padding_is_unknown(tmp_path: Path) -> None:
    rows = [["a", "<pad> red", "train"], ["b", "red <pad>", "train"], ["a", "<pad>", "validation"], ["b", "x", "test"]]
    path = table(tmp_path / "padding.csv", [["label", "text", "split"], *rows])
    data = text_data(TextTable(path), Division(), Reading("blanks"))
    assert [*data.train.texts, *data.validation.texts] == [((1, 2),), ((2, 1),), ((1,),)]


@pytest.mark.parametrize(("text", "minimum"), [("", 1), ("...", 1), ("a rare word", 99)])
def test_texts_of_which_nothing_is_known_are_refused(tmp_path: Path, text: str, minimum: int) -> None:
    path = table(tmp_path / "empty.csv", [["label", "text"], *([label, text] for label in "ab" * 20)])
    with pytest.raises(UserError, match=f"vocabulary_minimum is {minimum}, but .* set a smaller one"):
        text_data(TextTable(path), Division(), Reading(minimum=minimum))


@given(st.lists(st.sampled_from("aaaabbcdefg"), min_size=20, max_size=40), st.integers(0, 20))
def test_the_last_text_of_a_class_is_learned_from(labels: list[str], seed: int) -> None:
    labelled = Labelled([""] * len(labels), labels, [""] * len(labels))
    train, _, _ = divide(labelled, Division(seed, validation=0.3, test=0.3), "here")
    assert {labels[row] for row in train} == set(labels)


def test_documents_are_cut_into_sentences() -> None:
    reading = Reading(length=3, sentences=2)
    assert reading.cut("One two three four. ... Five! Six.") == [["one", "two", "three"], ["five", "!"]]
    assert Reading().cut("...") == []


def test_the_sentence_sets_are_as_published(data_root: Path) -> None:
    path = data_root / "sentence_cls" / "sentence_cls.csv.gz"
    found = {}
    for subset in ("TREC", "SST2", "CR"):
        data = text_data(TextTable(path, subset=subset), Division(), Reading())
        found[subset] = (len(data.train), len(data.validation), len(data.test), len(data.classes))
    assert found == {"TREC": (4907, 545, 500, 6), "SST2": (6920, 872, 1821, 2), "CR": (2718, 302, 755, 2)}
