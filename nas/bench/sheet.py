"""Sheet: the cells of a CSV or parquet file as text, row by row."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeAlias, final

from nas.jobfile.mistakes import nearest
from workers.errors import DamagedError, NotFoundError, UserError

Cells: TypeAlias = tuple[str, ...]
KINDS = (".csv", ".csv.gz", ".parquet")


@final
@dataclass(frozen=True)
class Sheet:
    """A file with a title above each column."""

    path: Path

    def rows(self, columns: Sequence[str]) -> Iterator[tuple[int, Cells]]:
        """The cells of `columns`, with the number of their line (of a parquet file: of their row)."""
        if not self.path.exists():
            raise NotFoundError(f"there is no table {self.path}: check the path, or see `nas bench --tables`")
        if self._parquet_file:
            yield from self._parquet(columns)
        elif self.path.name.lower().endswith(KINDS):
            yield from self._csv(columns)
        else:
            raise UserError(f"{self.path} must be a table in a file whose name ends in {', '.join(KINDS)}")

    def place(self, number: int) -> str:
        """Where a row is, in words."""
        return f"{self.path}, {'row' if self._parquet_file else 'line'} {number}"

    @property
    def _parquet_file(self) -> bool:
        return self.path.suffix.lower() == ".parquet"

    def _csv(self, columns: Sequence[str]) -> Iterator[tuple[int, Cells]]:
        with self._readable(), self._open() as opened:
            lines = csv.reader(opened)
            titles = next(lines, [])
            places = self._places(titles, columns)
            for cells in lines:
                if len(cells) == len(titles):
                    yield lines.line_num, tuple([cells[place] for place in places])
                elif cells:
                    raise UserError(
                        f"{self.place(lines.line_num)} has {len(cells)} cells, but there are {len(titles)} titles: "
                        "put text with commas into quotation marks"
                    )

    def _parquet(self, columns: Sequence[str]) -> Iterator[tuple[int, Cells]]:
        try:
            from pyarrow import ArrowException
            from pyarrow.parquet import ParquetFile
        except ImportError:
            raise UserError(
                f"{self.path} can be read only where pyarrow is installed: pip install pyarrow, or save it as CSV"
            ) from None
        try:
            with ParquetFile(self.path) as file:
                self._places(file.schema_arrow.names, columns)
                number = 0
                for batch in file.iter_batches(columns=list(columns)):
                    lists = [batch.column(name).to_pylist() for name in columns]
                    for cells in zip(*lists, strict=True):
                        number += 1
                        yield number, tuple(["" if cell is None else str(cell) for cell in cells])
        except ArrowException as error:
            raise DamagedError(f"{self.path} cannot be read as parquet: {error}") from None

    def _open(self) -> IO[str]:
        if self.path.suffix.lower() == ".gz":
            return gzip.open(self.path, "rt", encoding="utf-8-sig", newline="")
        return self.path.open(encoding="utf-8-sig", newline="")

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except UnicodeDecodeError:
            raise UserError(f"{self.path} is no text in UTF-8: save it as such") from None
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise DamagedError(f"{self.path} cannot be unpacked: {error}") from None
        except csv.Error as error:
            raise UserError(f"{self.path} cannot be read as CSV: {error}") from None

    def _places(self, titles: Sequence[str], columns: Sequence[str]) -> list[int]:
        for name in columns:
            if name not in titles:
                raise UserError(f"{self.path} has no column {name!r}: {nearest(name, titles)}")
            if titles.count(name) > 1:
                raise UserError(f"{self.path} has {titles.count(name)} columns {name!r}: rename all but one")
        return [titles.index(name) for name in columns]
