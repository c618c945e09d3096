"""The numbers that a chapter shows, in sentences, tables and figures: kept on the way, then held against its record."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from tabulate import tabulate

from .records import Record


class Shown:
    """Numbers on their way to a page: each is formatted as it is shown, and kept for the record as it is.

    So a number that a sentence, a table or a figure shows is one that the record holds, and a wrong factor on the way
    to either is found by `check`.

    Parameters
    ----------
    record : Record
        What `check` compares with.

    Attributes
    ----------
    numbers : dict of str to float
        What was kept, by name.

    Examples
    --------
    >>> import os, tempfile
    >>> shown = Shown(Record("example", "strokes", tempfile.mkdtemp()))
    >>> shown.text("gain", 0.1234, "{:.1%}")
    '12.3%'
    >>> curve = shown.keep("error", [0.5, 0.25])
    >>> shown.numbers
    {'gain': 0.1234, 'error, 0': 0.5, 'error, 1': 0.25}
    >>> os.environ["WAVESCORE_RECORD"] = "1"
    >>> shown.check()
    3 numbers agree with the record to 0.5 %
    >>> del os.environ["WAVESCORE_RECORD"]
    """

    def __init__(self, record: Record) -> None:
        self.record = record
        self.numbers: dict[str, float] = {}

    def keep(self, name: str, values: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Keep a number under a name, or the numbers of an array with their place behind it.

        Parameters
        ----------
        name : str
            One that has not been given yet.
        values : array_like
            Of any shape; tensors will do.

        Returns
        -------
        array, float64
            The values, to be drawn.

        Raises
        ------
        ValueError
            If the name was given before: the earlier number would be lost to the record.
        """
        array = np.asarray(values, dtype=np.float64)
        names = [f"{name}, {place}" for place in range(array.size)] if array.ndim else [name]
        if known := [each for each in names if each in self.numbers]:
            raise ValueError(f"{known[0]!r} is kept already; expected a name for each number")
        self.numbers |= dict(zip(names, array.ravel().tolist(), strict=True))
        return array

    def text(self, name: str, values: npt.ArrayLike, form: str = "{:g}") -> str:
        """Keep a number, or several, and return it as text: `form` is for `str.format`, with a place for each."""
        return form.format(*self.keep(name, values).ravel())

    def table(self, name: str, rows: Sequence[Sequence[object]], headers: Sequence[str], form: str = "{:g}") -> str:
        """Keep the numbers of a table, and return it as HTML.

        Parameters
        ----------
        name : str
        rows : sequence of sequences
            Each starts with its labels, which are strings; a cell after them is a number, or as many as `form` has
            places. ``None`` leaves a cell empty.
        headers : sequence of str
        form : str
            How a cell is written, for `str.format`.

        Returns
        -------
        str
        """
        text = []
        for row, cells in enumerate(rows):
            at = [f"{name}, {row}, {column}" for column in range(len(cells))]
            text.append([_cell(self, *cell, form) for cell in zip(at, cells, strict=True)])
        table: str = tabulate(text, headers=headers, tablefmt="html", disable_numparse=True)
        return table

    def check(self, rtol: float = 5e-3, atol: float = 1e-6) -> None:
        """Hold all that was kept against the record, and print a line that says it agrees: see `Record.check`."""
        self.record.check(self.numbers, rtol, atol)


def _cell(shown: Shown, name: str, value: object, form: str) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return shown.text(name, value, form)  # type: ignore[arg-type]
