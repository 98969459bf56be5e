"""PairTable: pairs of texts in a CSV file."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import final

from workers.errors import NotFoundError, UserError
from workers.image_source import digest, stamps
from workers.text.labelled import PARTS
from workers.text.pairs import Pair, Pairs, PairSource, Shares

SPLIT = "split"  # the one column that may be missing, as long as no job names it


@final
@dataclass(frozen=True)
class PairTable(PairSource):
    """A CSV file (perhaps .gz) whose first line names the columns."""

    path: Path
    source: str = "source"
    target: str = "target"
    split: str = SPLIT

    def stamp(self) -> str:
        if not self.path.is_file():
            raise NotFoundError(f"there is no file {self.path.absolute()}: name a CSV file of pairs of texts")
        return digest(*stamps(self.path))

    def read(self, shares: Shares) -> Pairs:
        try:
            with (
                gzip.open(self.path, "rt", encoding="utf-8-sig", newline="")
                if self._packed
                else self.path.open(encoding="utf-8-sig", newline="") as file
            ):
                rows = csv.DictReader(file, strict=True)
                self._check(rows.fieldnames or [])
                return self._divided(self._gathered((rows.line_num, row) for row in rows), shares)
        except UnicodeDecodeError as error:
            raise UserError(f"{self.path} is not in UTF-8 ({error.reason} at byte {error.start}): save it so") from None
        except (OSError, EOFError, zlib.error) as error:
            raise UserError(f"{self.path} cannot be read ({error}): name a CSV file, plain or .gz") from error
        except csv.Error as error:
            raise UserError(f"{self.path} is no CSV that can be read ({error}): write it with a csv library") from None

    @property
    def _packed(self) -> bool:
        return self.path.suffix == ".gz"

    def _check(self, columns: object) -> None:
        """Raise unless all columns that are asked for are there."""
        found = list(columns) if isinstance(columns, list | tuple) else []
        wanted = {"source_column": self.source, "target_column": self.target}
        if self.split != SPLIT:
            wanted["split_column"] = self.split
        for option, name in wanted.items():
            if name not in found:
                raise UserError(
                    f"{self.path} has the columns {', '.join(map(repr, found)) or 'none'}, but {option} is {name!r}: "
                    "name one of them; the first line must hold the columns' names"
                )

    def _gathered(self, rows: Iterator[tuple[int, Mapping[str, str | None]]]) -> dict[str, list[Pair]]:
        """The pairs by what the file says of their part, "" where it says nothing."""
        found: dict[str, list[Pair]] = defaultdict(list)
        for line, row in rows:
            source, target = row[self.source], row[self.target]
            if source is None or target is None or None in row:
                raise UserError(f"line {line} of {self.path} has not as many fields as the first line: mend it")
            named = (row.get(self.split) or "").strip().lower()
            if named not in PARTS:
                raise UserError(
                    f"line {line} of {self.path} has the {self.split} {named!r}, but it must be train, validation or "
                    "test (all or nothing: not divided yet): rename it, or name another split_column"
                )
            found[PARTS[named]].append((source, target))
        return found

    def _divided(self, pairs: dict[str, list[Pair]], shares: Shares) -> Pairs:
        """Parts that are lacking drawn from those that have none, all pairs with one source staying together."""
        generator, free = Random(f"division/{shares.seed}"), pairs.get("", [])
        test = pairs.get("test", [])
        if not test:
            test, free = _drawn(free, shares.test, generator)
        train, validation = pairs.get("train", []) + free, pairs.get("validation", [])
        if not validation:
            validation, train = _drawn(train, shares.validation, generator)
        for name, found in (("training", train), ("validation", validation), ("test", test)):
            if not found:
                raise UserError(
                    f"no pair of {self.path} is left for the {name} part: give more pairs or larger shares, or some "
                    "that are in no part yet, from which it is drawn"
                )
        return Pairs(train, validation, test)


def _drawn(pairs: list[Pair], share: float, generator: Random) -> tuple[list[Pair], list[Pair]]:
    """The pairs of a share of the different sources, and the others, both in their order."""
    sources = list(dict.fromkeys(source for source, _ in pairs))
    taken = set(generator.sample(sources, round(share * len(sources))))
    return [pair for pair in pairs if pair[0] in taken], [pair for pair in pairs if pair[0] not in taken]
