"""The tables that `wavescore reproduce` wrote, read by the names of trials."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..support.storage import read_rows
from .candidates import HELD_OUT, SIGMAS
from .tables import pairs_path, read_table, table_path
from .trials import Trial

CERTAIN = 2  # standard errors: a difference within them is called none

Rows = dict[tuple[str | float, ...], dict[str, str]]


class Results:
    """Measured errors of all trials on one dataset at one size.

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
    trials : dict of str to Trial
        By name, in the order of the table.

    Raises
    ------
    FileNotFoundError
        If there is no such table, or no copy of the book to look for it in.
    ValueError
        If it is of other images, its trials were fitted or scored on different numbers of them, or rows are missing,
        doubled or damaged.

    Examples
    --------
    >>> results = Results("mnist", 32)
    >>> wiener, local = (results.mse(name)[0] for name in ("Wiener", "local_coupled D=3 r=1 per-wavelet"))
    >>> wiener < local
    np.True_
    """

    def __init__(self, dataset: str, size: int, folder: str | Path | None = None) -> None:
        path = table_path(dataset, size, folder)
        table, pairs = read_table(path), read_rows(pairs_path(path))
        if not table.rows:
            raise FileNotFoundError(
                f"there is no table {path}; expected one made by wavescore reproduce --dataset {dataset} --size {size}"
            )
        if len(counts := {(trial.train, trial.test) for trial in table.rows}) > 1:
            raise ValueError(f"{path} has (train, test) = {sorted(counts)}; expected one number of images of each")
        if len(about := {(trial.dataset, trial.size) for trial in table.rows} | {(dataset, size)}) > 1:
            raise ValueError(f"{path} has (dataset, size) = {sorted(about)}; expected {dataset!r} and {size} alone")
        if ailing := [*table.strays, *(f"{trial.name}: {why}" for trial, why in table.faults.items())]:
            raise ValueError(f"{path} is damaged, and wavescore reproduce mends it: {'; '.join(ailing)}")
        found = [(trial, row) for trial, rows in table.rows.items() for row in rows]
        self.trials: dict[str, Trial] = {trial.name: trial for trial in table.rows}
        self._rows: Rows = {(t.name, row["evaluation"], float(row["sigma"])): row for t, row in found}
        self._pairs: Rows = {(p["denoiser"], p["key"], p["evaluation"], float(p["sigma"])): p for p in pairs}

    def column(
        self, name: str, column: str, sigmas: Sequence[float] = SIGMAS, evaluation: str = HELD_OUT
    ) -> np.ndarray:
        """A column of the table for one trial, at each of S noise levels: float64 [S].

        Raises
        ------
        KeyError
            If there is no such trial, evaluation or noise level, or no such column.
        """
        return np.array([float(self._row(self._rows, (name, evaluation, float(s)))[column]) for s in sigmas])

    def mse(self, name: str, sigmas: Sequence[float] = SIGMAS, evaluation: str = HELD_OUT) -> np.ndarray:
        """Mean squared error of a trial at each noise level, [S]."""
        return self.column(name, "mse", sigmas, evaluation)

    def saved(
        self, name: str, key: str, sigmas: Sequence[float] = SIGMAS, evaluation: str = HELD_OUT
    ) -> tuple[np.ndarray, np.ndarray]:
        """Share of its rival's error that a trial saves, and the standard error of the share, each [S].

        `key` says which rival, see `trials.rivals`: "degree" is the same family with a degree less, and so on.
        """
        rows = [self._row(self._pairs, (name, key, evaluation, float(sigma))) for sigma in sigmas]
        shares, standard_errors = (np.array([float(row[c]) for row in rows]) for c in ("saved", "standard_error"))
        return shares, standard_errors

    def signs(self, name: str, key: str, sigmas: Sequence[float] = SIGMAS, evaluation: str = HELD_OUT) -> np.ndarray:
        """1 where a trial beats its rival by more than CERTAIN standard errors, -1 where it loses so, else 0: [S]."""
        shares, standard_errors = self.saved(name, key, sigmas, evaluation)
        return np.sign(shares) * (np.abs(shares) > CERTAIN * standard_errors)

    def subbands(self, name: str, sigma: float) -> dict[str, float]:
        """How the error of a trial splits over the subbands, by orientation and side; the sum is its mse."""
        row = self._row(self._rows, (name, HELD_OUT, float(sigma)))
        return {key.removeprefix("mse_"): float(value) for key, value in row.items() if key.startswith("mse_")}

    @staticmethod
    def _row(table: Rows, key: tuple[str | float, ...]) -> dict[str, str]:
        if key not in table:
            alike = sorted({str(other[0]) for other in table if other[1:] == key[1:]})
            raise KeyError(f"there is no row {key}; expected one of {', '.join(alike) or 'other keys'}")
        return table[key]
