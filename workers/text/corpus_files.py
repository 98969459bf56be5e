"""Where the text of a language model comes from: CPython's documentation, any text file, or PTB's three files."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from workers.errors import NotFoundError, UserError

PYTHON_TOPICS, FILE, PTB = "python_topics", "file", "ptb"
DATASETS = (PYTHON_TOPICS, FILE, PTB)


def texts_of(dataset: str, root: Path | None) -> tuple[str, ...]:
    """One text that is to be divided, or a training, a validation and a test text."""
    if dataset == PYTHON_TOPICS:
        return (python_topics(),)
    if root is None:
        raise UserError(f"dataset: {dataset} needs `root`, the path of the {'file' if dataset == FILE else 'folder'}")
    return (read_text(root),) if dataset == FILE else penn_treebank(root)


def python_topics() -> str:
    """The English documentation that CPython carries for `help()`, in the order of its topics' names.

    465,048 characters in Python 3.11.7; other releases differ a little.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise NotFoundError(
            "dataset is python_topics, but this Python was installed without its documentation (pydoc_data): "
            "install it, or name a text with dataset: file and root"
        ) from None
    return "\n".join(topics[name] for name in sorted(topics))


def penn_treebank(folder: Path) -> tuple[str, ...]:
    """The training, validation and test text as Mikolov prepared them, without the spaces around each line."""
    found = []
    for part in ("train", "valid", "test"):
        names = [f"ptb.{part}.txt", f"ptb.{part}.txt.gz"]
        files = [folder / name for name in names if (folder / name).is_file()]
        if not files:
            raise NotFoundError(f"there is neither {names[0]} nor {names[1]} in {folder}: name their folder by root")
        lines = read_text(files[0]).removesuffix("\n").split("\n")
        found.append("".join(f"{line.strip()}\n" for line in lines))
    return tuple(found)


def read_text(file: Path) -> str:
    """A file of UTF-8, also one that gzip packed; lines end by a new line each, whatever the file has."""
    opened = gzip.open if file.suffix == ".gz" else open
    try:
        with opened(file, "rt", encoding="utf-8-sig") as text:
            return str(text.read())
    except FileNotFoundError:
        raise NotFoundError(f"root is {file}, but there is no such file (from {Path.cwd()})") from None
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{file} cannot be read: {error}; name a text file, or one that gzip packed as .gz") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not UTF-8 from byte {error.start} on: convert it, as with iconv") from None
