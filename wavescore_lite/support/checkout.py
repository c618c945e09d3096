"""Where the book is: its tables and records lie beside its chapters, not in the package."""

from __future__ import annotations

from pathlib import Path

TABLE_OF_CONTENTS, CHAPTERS = "_toc.yml", "book"


def copy_at_hand() -> Path | None:
    """The copy of the book at hand: upwards from the working directory the first folder that holds one.

    What tells it is a ``_toc.yml`` beside a folder ``book``; another Jupyter Book may have the first alone. If there is
    none, it is the one that the package is installed from, or None if that is installed from none.

    Examples
    --------
    >>> (copy_at_hand() / "book" / "records").is_dir()
    True
    """
    for folder in (Path.cwd(), *Path.cwd().parents, Path(__file__).resolve().parents[2]):
        if (folder / TABLE_OF_CONTENTS).is_file() and (folder / CHAPTERS).is_dir():
            return folder
    return None


def checkout() -> Path:
    """The `copy_at_hand`, or an error that says what was looked for.

    Raises
    ------
    FileNotFoundError
        If there is no such folder, and the package is not installed from one.

    Examples
    --------
    >>> (checkout() / "book" / "records").is_dir()
    True
    """
    folder = copy_at_hand()
    if folder is None:
        raise FileNotFoundError(
            f"there is no copy of the book here: neither {Path.cwd()} nor a folder above it holds {TABLE_OF_CONTENTS} "
            f"and {CHAPTERS}/, and the package is not installed from one; expected one of both, or folder=..."
        )
    return folder
