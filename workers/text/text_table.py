"""TextTable: labelled texts in a CSV file."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

from workers.errors import NotFoundError, UserError
from workers.image_source import digest, stamps
from workers.text.labelled import PARTS, Labelled, TextSource

LONGEST = 1 << 27  # characters of a field; the csv module refuses more than 131,072 unless it is told
SPLIT = "split"  # the one column that may be missing, as long as no job names it


@final
@dataclass(frozen=True)
class TextTable(TextSource):
    """A CSV file (perhaps .gz) whose first line names the columns; of the rows only those with `subset`, if given."""

    path: Path
    text: str = "text"
    label: str = "label"
    split: str = SPLIT
    subset: str | None = None
    subset_column: str = "dataset"

    @property
    def place(self) -> str:
        return str(self.path) if self.subset is None else f"{self.path} ({self.subset_column} {self.subset})"

    def stamp(self) -> str:
        if not self.path.is_file():
            raise NotFoundError(f"there is no file {self.path.absolute()}: name a CSV file of texts and labels")
        return digest(*stamps(self.path))

    def read(self) -> Labelled:
        limit = csv.field_size_limit(LONGEST)
        try:
            with (
                gzip.open(self.path, "rt", encoding="utf-8-sig", newline="")
                if self._packed
                else self.path.open(encoding="utf-8-sig", newline="") as file
            ):
                rows = csv.DictReader(file, strict=True)
                self._check(rows.fieldnames or [])
                return self._gathered((rows.line_num, row) for row in rows)
        except UnicodeDecodeError as error:
            raise UserError(f"{self.path} is not in UTF-8 ({error.reason} at byte {error.start}): save it so") from None
        except (OSError, EOFError, zlib.error) as error:
            raise UserError(f"{self.path} cannot be read ({error}): name a CSV file, plain or .gz") from error
        except csv.Error as error:
            raise UserError(f"{self.path} is no CSV that can be read ({error}): write it with a csv library") from None
        finally:
            csv.field_size_limit(limit)

    @property
    def _packed(self) -> bool:
        return self.path.suffix == ".gz"

    def _check(self, columns: object) -> None:
        """Raise unless all columns that are asked for are there."""
        found = list(columns) if isinstance(columns, list | tuple) else []
        wanted = {"text_column": self.text, "label_column": self.label}
        if self.split != SPLIT:
            wanted["split_column"] = self.split
        if self.subset is not None:
            wanted["subset_column"] = self.subset_column
        for option, name in wanted.items():
            if name not in found:
                raise UserError(
                    f"{self.path} has the columns {', '.join(map(repr, found)) or 'none'}, but {option} is {name!r}: "
                    "name one of them; the first line must hold the columns' names"
                )

    def _gathered(self, rows: Iterator[tuple[int, Mapping[str, str | None]]]) -> Labelled:
        texts, labels, parts, known = [], [], [], set()
        for line, row in rows:
            if self.subset is not None:
                known.add(row[self.subset_column] or "")
                if row[self.subset_column] != self.subset:
                    continue
            text, label = row[self.text], row[self.label]
            if text is None or label is None or None in row:
                raise UserError(f"line {line} of {self.path} has not as many fields as the first line: mend it")
            if not label.strip():
                raise UserError(f"line {line} of {self.path} has no {self.label}: give its class, or leave it out")
            texts.append(text)
            labels.append(label.strip())
            parts.append(self._part(row.get(self.split) or "", line))
        if self.subset is not None and not texts:
            named = ", ".join(sorted(known)[:12]) or "nothing"
            raise UserError(f"subset is {self.subset!r}, but {self.subset_column} of {self.path} holds {named}")
        return Labelled(texts, labels, parts)

    def _part(self, name: str, line: int) -> str:
        try:
            return PARTS[name.strip().lower()]
        except KeyError:
            raise UserError(
                f"line {line} of {self.path} has the {self.split} {name!r}, but it must be train, validation or test "
                "(all or nothing: not divided yet): rename it, or name another split_column"
            ) from None
