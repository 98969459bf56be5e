"""Pairs of texts: dates that Babel writes, CSV files, and both as numbers in batches."""

from __future__ import annotations

import gzip
from datetime import date
from pathlib import Path

import pytest
import torch

from workers.errors import NotFoundError, UserError
from workers.text.dates import CASES, FIRST, PATTERNS, Dates
from workers.text.pair_batches import PairTensors
from workers.text.pair_data import BEGUN, ENDED, FOREIGN, PairPart, Spelling, pair_data
from workers.text.pair_table import PairTable
from workers.text.pairs import Pairs, PairSource, Shares


def table(folder: Path, rows: str, name: str = "pairs.csv") -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(rows.encode()) if name.endswith(".gz") else rows.encode())
    return path


def test_every_date_is_what_its_text_says() -> None:
    from babel.dates import format_date

    pairs = Dates(300, ("en_US", "de_DE")).read(Shares())
    for text, written in (*pairs.train, *pairs.validation, *pairs.test):
        day = date.fromisoformat(written)
        known = {format_date(day, one, locale=locale) for one in PATTERNS for locale in ("en_US", "de_DE")}
        assert text in {case(one) for one in known for case in CASES}
        assert 0 <= (day - FIRST).days < 36524


def test_no_day_is_in_two_parts_and_equal_seeds_divide_equally() -> None:
    source = Dates(500)
    pairs, again, other = (source.read(Shares(0.1, 0.2, seed)) for seed in (0, 0, 1))
    assert pairs == again
    assert pairs != other
    assert [len(part) for part in (pairs.train, pairs.validation, pairs.test)] == [350, 50, 100]
    days = [written for part in (pairs.train, pairs.validation, pairs.test) for _, written in part]
    assert len(set(days)) == 500


def test_the_published_example() -> None:
    from babel.dates import format_date

    assert format_date(date(1979, 5, 3), "d MMMM yyyy", locale="en_US") == "3 May 1979"


def test_wrong_dates_are_refused() -> None:
    with pytest.raises(UserError, match="one for each day"):
        Dates(40000)
    with pytest.raises(UserError, match="write it as en_US"):
        Dates(10, ("xx_YY",)).read(Shares())
    with pytest.raises(UserError, match="at least one"):
        Dates(10, ())
    with pytest.raises(UserError, match="set smaller shares"):
        Dates(10).read(Shares(0.5, 0.5))


@pytest.mark.parametrize("name", ["pairs.csv", "pairs.csv.gz"])
def test_a_table_is_divided_by_its_own_column(tmp_path: Path, name: str) -> None:
    rows = 'source,target,split\na,A,train\n"b, c","B\nC",dev\nd,D,test\n'
    found = PairTable(table(tmp_path, rows, name)).read(Shares())
    assert found == Pairs([("a", "A")], [("b, c", "B\nC")], [("d", "D")])


def test_pairs_with_one_source_stay_together(tmp_path: Path) -> None:
    rows = "source,target\n" + "".join(f"{number % 50},{number}\n" for number in range(200))
    found = PairTable(table(tmp_path, rows)).read(Shares(0.2, 0.2))
    sources = [{source for source, _ in part} for part in (found.train, found.validation, found.test)]
    assert [len(one) for one in sources] == [32, 8, 10]
    assert [len(part) for part in (found.train, found.validation, found.test)] == [128, 32, 40]
    assert not sources[0] & sources[1] | sources[0] & sources[2] | sources[1] & sources[2]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("question,answer\na,b\n", "source_column is 'source'"),
        ("source,target\na,b\nc\n", "line 3 .* not as many fields"),
        ("source,target,split\na,b,held out\n", "must be train, validation or test"),
        ("source,target\na,b\n", "no pair of .* training part|no pair of .* test part|no pair of .* validation part"),
    ],
)
def test_a_wrong_table_is_refused(tmp_path: Path, rows: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        PairTable(table(tmp_path, rows)).read(Shares())


def test_a_missing_or_damaged_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="name a CSV file"):
        PairTable(tmp_path / "none.csv").stamp()
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(b"source,target\na,b\n")[:-6])
    with pytest.raises(UserError, match="cannot be read"):
        PairTable(tmp_path / "cut.csv.gz").read(Shares())


class Few(PairSource):
    def stamp(self) -> str:
        return ""

    def read(self, shares: Shares) -> Pairs:
        return Pairs([("ab ba", "x y"), ("a" * 20, "x")], [("ab q", "x z <pad>")], [("b" * 12, "y " * 12)])


def test_one_vocabulary_is_counted_in_the_training_part() -> None:
    data = pair_data(Few(), Shares(), Spelling("words", length=10))
    assert data.vocabulary.tokens == ("<pad>", "<bos>", "<eos>", "<unk>", "x", "a" * 20, "ab", "ba", "y")
    assert data.validation.sources[0][1:] == (FOREIGN, ENDED)
    assert data.validation.targets[0][1:] == (FOREIGN, FOREIGN)  # a text cannot write padding
    assert data.validation.wanted == ["x z <pad>"]


def test_pairs_of_which_nothing_is_known_are_refused() -> None:
    with pytest.raises(UserError, match=r"vocabulary_minimum is 99, but .* none of the words .* set a smaller one"):
        pair_data(Few(), Shares(), Spelling("words", minimum=99))


def test_longer_texts_are_left_out_or_cut() -> None:
    data = pair_data(Few(), Shares(), Spelling(length=10))
    assert len(data.train) == 1  # the other one has 20 characters
    assert len(data.test.sources[0]) == 11
    assert len(data.test.targets[0]) == 10
    assert data.test.wanted == ["y " * 12]
    assert data.shape == (11, 11)
    assert data.text((*data.test.targets[0], ENDED, 5)) == "y y y y y "


def test_batches_hold_every_pair_once_with_begin_and_end() -> None:
    lengths = [3, 1, 7, 2, 5, 4, 6]
    part = PairPart([tuple(range(4, 4 + n)) for n in lengths], [tuple(range(4, 3 + n)) for n in lengths], [""] * 7)
    pairs = PairTensors(part)
    drawn = pairs.drawn(2, 2, torch.Generator().manual_seed(0))
    assert sorted(place for batch in drawn for place in batch) == list(range(7))
    assert drawn != pairs.drawn(2, 2, torch.Generator().manual_seed(1))
    batch = pairs.take([0, 1], torch.device("cpu"))
    assert batch.source.tolist() == [[4, 5, 6], [4, 0, 0]]
    assert batch.given.tolist() == [[BEGUN, 4, 5], [BEGUN, 0, 0]]
    assert batch.wanted.tolist() == [[4, 5, ENDED], [ENDED, 0, 0]]
    assert batch.tokens == 4


def test_a_batch_holds_texts_of_alike_lengths() -> None:
    lengths = torch.randint(1, 40, (600,), generator=torch.Generator().manual_seed(0)).tolist()
    pairs = PairTensors(PairPart([(4,) * n for n in lengths], [()] * 600, [""] * 600))

    def padding(batches: list[list[int]]) -> int:
        return sum(len(batch) * max(lengths[i] for i in batch) - sum(lengths[i] for i in batch) for batch in batches)

    generator = torch.Generator().manual_seed(1)
    assert padding(pairs.drawn(20, 16, generator)) < padding(pairs.drawn(20, 1, generator)) / 4
