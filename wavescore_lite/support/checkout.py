"""Where the book is: its tables and records lie beside its chapters, not in the package."""

from __future__ import annotations

from pathlib import Path

MARK = "_toc.yml"


def checkout() -> Path:
    """The copy of the book at hand: upwards from the working directory the first folder with a ``_toc.yml``.

    If there is none, it is the one that the package is installed from.

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
        if (folder / MARK).is_file():
            return folder
    raise FileNotFoundError(
        f"there is no copy of the book here: neither {here} nor a folder above it holds {MARK}, and the package is not "
        "installed from one; expected one of both, or folder=..."
    )
