"""Where the book is: its tables and records lie beside its chapters, not in the package."""

from __future__ import annotations

from pathlib import Path

TABLE_OF_CONTENTS, CHAPTERS = "_toc.yml", "book"


def checkout() -> Path:
    """The copy of the book at hand: upwards from the working directory the first folder that holds one.

    What tells it is a ``_toc.yml`` beside a folder ``book``; another Jupyter Book may have the first alone. If there is
    none, it is the one that the package is installed from.

    Raises
    ------
    FileNotFoundError
        If there is no such folder, and the package is not installed from one.

    Examples
    --------
    >>> (checkout() / "book" / "records").is_dir()
    True
    """
    here = Path.cwd()
    for folder in (here, *here.parents, Path(__file__).resolve().parents[2]):
        if (folder / TABLE_OF_CONTENTS).is_file() and (folder / CHAPTERS).is_dir():
            return folder
    raise FileNotFoundError(
        f"there is no copy of the book here: neither {here} nor a folder above it holds {TABLE_OF_CONTENTS} and "
        f"{CHAPTERS}/, and the package is not installed from one; expected one of both, or folder=..."
    )
