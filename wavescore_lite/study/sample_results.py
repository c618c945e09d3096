"""The tables of samples that `wavescore reproduce --figure samples` wrote, read by the names of denoisers."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..support.storage import read_rows
from .generation import tables
from .judging import IMAGE_KINDS
from .tables import table_path

Row = dict[str, str]


class Agreement(NamedTuple):
    """How far samples of two denoisers from the same noise are the same, at S noise levels, the last of them 0.

    Attributes
    ----------
    sigmas : array [S]
    r2, r2_error, null_r2, cosine, cosine_error, null_cosine : array [S]
        See `judging.agreement`.
    """

    sigmas: np.ndarray
    r2: np.ndarray
    r2_error: np.ndarray
    null_r2: np.ndarray
    cosine: np.ndarray
    cosine_error: np.ndarray
    null_cosine: np.ndarray


class SampleResults:
    """How good the samples of all denoisers are on one dataset at one size, and how far they are a network's.

    Parameters
    ----------
    dataset : str
        As in `data.registry`.
    size : int
        Pixels along a side.
    folder : path, optional
        Where the tables are; by default ``results`` in the copy of the book at hand, see `support.checkout`.

    Attributes
    ----------
    names, with_noise : list of str
        Denoisers whose samples were made without noise on the way, and with it, in the order of the table.
    reference : str
        The network that all are compared with; empty if there is none.

    Raises
    ------
    FileNotFoundError
        If there is no such table, or no copy of the book to look for it in.

    Examples
    --------
    >>> samples = SampleResults("mnist", 32)
    >>> wiener, floor = (samples.quality(name, "frechet")[0] for name in ("Wiener", "training images"))
    >>> wiener > 100 * floor
    True
    """

    def __init__(self, dataset: str, size: int, folder: str | Path | None = None) -> None:
        path = table_path(dataset, size, folder)
        samples, agreement = map(read_rows, tables(path))
        if not samples:
            raise FileNotFoundError(
                f"there is no table {tables(path)[0]}; expected one made by "
                f"wavescore reproduce --figure samples --dataset {dataset} --size {size}"
            )
        self._rows = {(row["denoiser"], row["stochasticity"]): row for row in samples}
        self._agreement: dict[tuple[str, str], list[Row]] = {}
        for row in agreement:
            self._agreement.setdefault((row["denoiser"], row["reference"]), []).append(row)
        self.names, self.with_noise = ([n for n, s in self._rows if s == wanted] for wanted in "01")
        named = [reference for _, reference in self._agreement]
        self.reference = max(named, key=named.count, default="")

    def quality(self, name: str, measure: str, stochasticity: float = 0.0) -> tuple[float, float]:
        """A column of the table, and its standard error (NaN where there is none).

        `name` is a denoiser's, or one of the kinds of images that stand beside them, which know no stochasticity.
        """
        key = name, "" if name in IMAGE_KINDS else f"{stochasticity:g}"
        if key not in self._rows:
            raise KeyError(f"no samples of {name!r}, stochasticity {stochasticity:g}; expected one of {self.names}")
        row = self._rows[key]
        return float(row[measure]), float(row.get(f"{measure}_error", "nan"))

    def agreement(self, name: str, reference: str | None = None) -> Agreement:
        """How far samples are those of a network, without noise on the way; by default of `reference`."""
        rows = self._agreement[name, self.reference if reference is None else reference]
        columns = ("sigma", *Agreement._fields[1:])
        return Agreement(*(np.array([float(row[column]) for row in rows]) for column in columns))
