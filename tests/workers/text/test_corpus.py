from __future__ import annotations

import gzip
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.errors import NotFoundError, UserError
from workers.tasks.language_model import LanguageModel
from workers.text.corpus import CHARACTERS, WORDS, Corpus, Cut, corpus, text_of, tokens_of
from workers.text.corpus_files import penn_treebank, python_topics, read_text
from workers.text.vocabulary import END, UNKNOWN


def parts(found: Corpus) -> list[list[str]]:
    return [found.vocabulary.decode(part.tolist()) for part in (found.train, found.validation, found.test)]


def test_a_text_is_cut_by_position() -> None:
    train, validation, test = parts(corpus(["abcdefghijklmnopqrst"], Cut(validation=0.2, test=0.1)))
    assert ("".join(train), validation, test) == ("abcdefghijklmn", [UNKNOWN] * 4, [UNKNOWN] * 2)


@given(st.integers(20, 400), st.floats(0.1, 0.4), st.floats(0.1, 0.4))
def test_every_token_is_in_one_part(count: int, validation: float, test: float) -> None:
    text = "".join(chr(0x4E00 + place) for place in range(count))
    found = [len(part) for part in parts(corpus([text], Cut(validation=validation, test=test)))]
    assert sum(found) == count
    assert abs(found[2] - test * count) <= 0.5
    assert abs(found[1] - validation * count) <= 1


def test_the_vocabulary_is_counted_in_the_training_part_alone() -> None:
    found = corpus(["aab", "abz", "zb"], Cut())
    assert found.vocabulary.tokens == (UNKNOWN, "a", "b")
    assert [part.tolist() for part in (found.train, found.validation, found.test)] == [[1, 1, 2], [1, 2, 0], [0, 2]]
    assert found.train.dtype == np.int32


def test_what_is_rare_is_unknown() -> None:
    texts = ["b b a a c\na d", "a b\n", "c\n"]
    often = corpus(texts, Cut(unit=WORDS, minimum_count=2))
    assert often.vocabulary.tokens == (UNKNOWN, END, "a", "b")
    assert parts(often)[0] == ["b", "b", "a", "a", UNKNOWN, END, "a", UNKNOWN, END]
    few = corpus(texts, Cut(unit=WORDS, vocabulary_size=3))
    assert few.vocabulary.tokens == (UNKNOWN, END, "a")
    assert parts(few)[2] == [UNKNOWN, END]


@pytest.mark.parametrize(
    "cut", [Cut(minimum_count=9), Cut(vocabulary_size=1), Cut(WORDS, vocabulary_size=2), Cut(WORDS, minimum_count=5)]
)
def test_a_text_of_unknown_tokens_is_refused(cut: Cut) -> None:
    """All of it would be foreseen, with a loss of 0."""
    with pytest.raises(UserError, match="is known and all are alike: set a smaller minimum_count or a larger voc"):
        corpus(["b b a a c\na d", "a b\n", "c\n"], cut)


def test_limits_keep_the_beginning_of_a_part_and_the_vocabulary_of_all() -> None:
    found = corpus(["aabbz", "bbab", "zzz"], Cut(train_tokens=3, validation_tokens=2))
    assert parts(found) == [["a", "a", "b"], ["b", "b"], ["z", "z", "z"]]
    assert set(found.vocabulary.tokens) == {UNKNOWN, "a", "b", "z"}


def test_words_are_separated_by_spaces_and_lines_end() -> None:
    assert tokens_of(" a  b \n\nc\t d\n", WORDS) == ["a", "b", END, END, "c", "d", END]
    assert tokens_of("a\nb", WORDS) == ["a", END, "b", END]
    assert text_of(["a", "b", END, "c", UNKNOWN], WORDS) == "a b\nc <unk>"
    assert text_of(["a", UNKNOWN, "\n"], CHARACTERS) == "a\ufffd\n"


def test_a_file_is_read_also_where_gzip_packed_it(tmp_path: Path) -> None:
    text = "Fünf\nZeilen\n"
    (tmp_path / "plain").write_bytes(text.replace("\n", "\r\n").encode("utf-8-sig"))
    (tmp_path / "packed.gz").write_bytes(gzip.compress(text.encode()))
    assert read_text(tmp_path / "plain") == read_text(tmp_path / "packed.gz") == text


def test_what_cannot_be_read_is_said_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes("Fünf".encode("latin-1"))
    packed = gzip.compress(b"many words " * 100)
    (tmp_path / "cut.gz").write_bytes(packed[:-9])
    (tmp_path / "no.gz").write_bytes(b"plain text")
    for name, said in (("latin", "not UTF-8 from byte 1"), ("cut.gz", "cannot be read"), ("no.gz", "cannot be read")):
        with pytest.raises(UserError, match=said):
            read_text(tmp_path / name)
    with pytest.raises(NotFoundError, match="no such file"):
        read_text(tmp_path / "none")
    with pytest.raises(NotFoundError, match=r"neither ptb\.train\.txt nor ptb\.train\.txt\.gz"):
        penn_treebank(tmp_path)
    with pytest.raises(UserError, match="test part has 1 characters"):
        corpus(["long enough", "this, too", "x"], Cut())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dataset": "wikipedia"}, "python_topics, file, ptb"),
        ({"dataset": "file"}, "need root"),
        ({"root": "x"}, "has none"),
        ({"unit": "bytes"}, "characters or words"),
        ({"validation": 0.6, "test": 0.4}, "shares above 0"),
        ({"test": 0.0}, "shares above 0"),
        ({"steps": 0}, "steps is 0"),
        ({"train_tokens": 0}, "train_tokens is 0"),
        ({"temperature": 0.0}, "above 0"),
        ({"sample_tokens": -1}, "at least 0"),
        ({"device": "tpu"}, "cuda:N"),
    ],
)
def test_a_wrong_option_is_refused_with_its_rule(options: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        LanguageModel(**options)  # type: ignore[arg-type]


def test_the_documentation_of_python_is_there_without_a_download() -> None:
    text = python_topics()
    assert text.startswith('The "assert" statement\n')
    assert 400_000 < len(text) < 700_000
    task = LanguageModel()
    assert 90 < task.signature.vocabularies["tokens"] < 150
    assert task.signature.outputs["logits"] == (64, task.signature.vocabularies["tokens"])
    assert sum(len(task.corpus.part(split)) for split in ("train", "validation", "test")) == len(text)
    assert task.preprocessing.vocabulary[:2] == (UNKNOWN, " ")


def test_the_penn_treebank_has_the_published_counts(data_root: Path) -> None:
    words = LanguageModel(dataset="ptb", root=str(data_root / "ptb"), unit=WORDS)
    counts = [len(words.corpus.part(split)) for split in ("train", "validation", "test")]
    assert counts == [929_589, 73_760, 82_430]
    assert words.signature.vocabularies == {"tokens": 10_000}
    lines = [int((words.corpus.part(s) == words.corpus.vocabulary.numbers[END]).sum()) for s in ("train", "test")]
    assert lines == [42_068, 3_761]
    characters = LanguageModel(dataset="ptb", root=str(data_root / "ptb"))
    counts = [len(characters.corpus.part(split)) for split in ("train", "validation", "test")]
    assert [round(count / 1000) for count in counts] == [5017, 393, 442]  # Mikolov et al. 2012
    assert characters.signature.vocabularies == {"tokens": 51}  # 50, and the unknown one


def test_tiny_shakespeare_has_the_published_counts(data_root: Path) -> None:
    task = LanguageModel(dataset="file", root=str(data_root / "tinyshakespeare" / "input.txt.gz"))
    counts = [len(task.corpus.part(split)) for split in ("train", "validation", "test")]
    assert sum(counts) == 1_115_394
    assert counts[1:] == [55_769, 55_770]
    assert task.signature.vocabularies == {"tokens": 66}  # 65, and the unknown one
    order = Counter(task.corpus.train.tolist())
    entropy = -sum(n / counts[0] * math.log2(n / counts[0]) for n in order.values())
    assert entropy == pytest.approx(4.77, abs=0.02)
