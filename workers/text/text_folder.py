"""TextFolder: labelled texts as files, in a folder per class."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import final

from workers.errors import NotFoundError, UserError
from workers.image_source import digest, stamps
from workers.text.labelled import PARTS, Labelled, TextSource


@final
@dataclass(frozen=True)
class TextFolder(TextSource):
    """A folder of .txt files per class, or such folders in `train`, `test` and perhaps `validation`."""

    root: Path

    @property
    def place(self) -> str:
        return str(self.root)

    def stamp(self) -> str:
        if not self.root.is_dir():
            raise NotFoundError(
                f"there is no folder {self.root.absolute()}: name one that holds a folder of .txt files per class, "
                "or a CSV file"
            )
        return digest(*stamps(self.root))

    def read(self) -> Labelled:
        divided = (self.root / "train").is_dir()
        texts, labels, parts = [], [], []
        for folder in _folders(self.root) if divided else [self.root]:
            if divided and not PARTS.get(folder.name.lower()):
                raise UserError(
                    f"{self.root} holds {folder.name} beside train, which is not read: rename it to validation or "
                    "test if it is one, or move it away"
                )
            for one in _folders(folder):
                files = sorted(one.rglob("*.txt"))
                if not files:
                    raise UserError(f"the class folder {one} holds no .txt file: fill or remove it")
                texts += [_read(file) for file in files]
                labels += [one.name] * len(files)
                parts += [PARTS[folder.name.lower()] if divided else ""] * len(files)
        return Labelled(texts, labels, parts)


def _folders(root: Path) -> list[Path]:
    return sorted(one for one in root.iterdir() if one.is_dir() and not one.name.startswith("."))


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not in UTF-8 ({error.reason} at byte {error.start}): save it so") from None
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror}): mend or remove it") from error
