"""Tables of trials as files: which trials are whole, and so count as measured, and what ails the others."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from ..bases.wavelets import WaveletBasis
from ..data.registry import dataset
from ..similarity import WINDOW
from ..support.checkout import checkout
from ..support.storage import read_rows
from .trials import IMAGES, NOT_GIVEN, Trial, check_family, columns, trial_of

MEASURED = ("evaluation", "sigma", "mse", "standard_error", "psnr", "ssim")  # then the shares of the subbands
CONSTANT = ("resize", "parameters", "seconds", "version")
REQUIRED = {*IMAGES, *NOT_GIVEN, *MEASURED, *CONSTANT}
ROUNDING = 1e-6  # of the error and its shares, as they are written

Row = dict[str, str]


def table_path(dataset: str, size: int, folder: str | Path | None = None) -> Path:
    """Where the table of errors lies: by default in ``results`` in the copy of the book at hand."""
    return Path(checkout() / "results" if folder is None else folder, f"{dataset}-{size}.csv")


class Table(NamedTuple):
    """What a file holds: the rows of each trial, what ails a trial if anything does, and rows that are of none."""

    rows: dict[Trial, list[Row]]
    faults: dict[Trial, str]
    strays: list[str]


def read_table(path: str | Path, release: str | None = None) -> Table:
    """Read a table and judge it.

    A trial is whole if it has one row for each of its evaluations and noise levels, all numbers are finite and errors
    not negative, the shares of the subbands sum to the error, the images came to their size as they do now, and, if
    `release` is given, the rows are of that version of the package.

    Parameters
    ----------
    path : path
        An absent file is an empty table.
    release : str, optional

    Raises
    ------
    ValueError
        If the file is no such table: other columns, or a family that is in no registry.

    Examples
    --------
    >>> table = read_table("no-such-table.csv")
    >>> table.rows, table.faults, table.strays
    ({}, {}, [])
    """
    rows, strays = read_rows(path), []
    found: dict[Trial, list[Row]] = {}
    if rows and (lacking := REQUIRED - set(rows[0])):
        raise ValueError(f"{path} is no table of trials: it lacks the columns {', '.join(sorted(lacking))}")
    for line, row in enumerate(rows, 2):
        if None in row or None in row.values():
            strays.append(f"line {line} has too few or too many values")
            continue
        try:
            check_family(row)
        except ValueError as error:
            raise ValueError(f"{path} has a row that cannot be read: {error}") from error
        try:
            found.setdefault(trial_of(row), []).append(row)
        except (SyntaxError, TypeError, ValueError) as error:
            strays.append(f"line {line}: {error}")
    faults = {trial: fault(trial, own, release) for trial, own in found.items()}
    return Table(found, {trial: why for trial, why in faults.items() if why}, strays)


def fault(trial: Trial, rows: Sequence[Row], release: str | None = None) -> str:
    """What is wrong with the rows of a trial first of all; nothing, if they are whole: see `read_table`."""
    if list(rows[0]) != header(trial):
        return "other columns than it should have"
    found = Counter((row["evaluation"], _number(row["sigma"])) for row in rows)
    wanted = places(trial)
    for place in [*wanted, *found]:
        if found[place] != (place in wanted):
            return f"{found[place]} rows for {place[0]}, sigma = {place[1]:g}, and not {int(place in wanted)}"
    same = columns(trial) | {"resize": dataset(trial.dataset).sizing} | ({"version": release} if release else {})
    return next(filter(None, (_fault_of_row(row, trial.size, same) for row in rows)), "")


def _fault_of_row(row: Row, size: int, same: Mapping[str, object]) -> str:
    """What is wrong with the numbers of a row first of all, or with those values that must be the `same`."""
    errors = {name: row[name] for name in row if name in ("mse", "standard_error") or name.startswith("mse_")}
    counts = {name: row[name] for name in ("parameters", "seconds") if row[name]}
    others = {"psnr": row["psnr"], **({"ssim": row["ssim"]} if size >= WINDOW else {})}
    for name, value in {**errors, **counts, **others}.items():
        if not math.isfinite(_number(value)) or (name not in others and _number(value) < 0):
            return f"{name} is {value!r}"
    shares = sum(_number(value) for name, value in errors.items() if name.startswith("mse_"))
    if abs(shares - _number(row["mse"])) > ROUNDING:
        return f"mse is {row['mse']}, and its shares sum to {shares:.7f}"
    differing = (
        f"{name} is {row[name]!r}, and not {str(value)!r}" for name, value in same.items() if row[name] != str(value)
    )
    return next(differing, "")


def places(trial: Trial) -> list[tuple[str, float]]:
    """Evaluation and noise level of each row of a trial.

    Examples
    --------
    >>> from .candidates import Baseline
    >>> places(Trial("strokes", 8, 60, 20, Baseline("Wiener")))[:2]
    [('held-out', 0.25), ('held-out', 0.5)]
    """
    return [(evaluation, sigma) for evaluation in trial.evaluations for sigma in trial.sigmas]


def header(trial: Trial) -> list[str]:
    """The columns of a table that has this trial, in their order.

    Examples
    --------
    >>> from .candidates import Baseline
    >>> header(Trial("strokes", 8, 60, 20, Baseline("Wiener")))[14:22]
    ['evaluation', 'sigma', 'mse', 'standard_error', 'psnr', 'ssim', 'mse_a4', 'mse_h4']
    """
    return [*columns(trial), *MEASURED, *_shares(trial.size), *CONSTANT]


def pairs_path(path: Path) -> Path:
    """Where the pairs of the table at `path` are.

    Examples
    --------
    >>> pairs_path(Path("results/mnist-32.csv")).name
    'mnist-32-pairs.csv'
    """
    return path.with_name(f"{path.stem}-pairs.csv")


def whole_pair(rows: Sequence[Row], start: Mapping[str, object], wanted: set[tuple[str, float]]) -> bool:
    """Whether rows of a table of pairs begin with `start`, are one for each of the `wanted` places, and finite."""
    numbers = [_number(row[name]) for row in rows for name in ("saved", "standard_error")]
    return (
        Counter((row["evaluation"], _number(row["sigma"])) for row in rows) == Counter(wanted)
        and all(row[name] == str(value) for row in rows for name, value in start.items())
        and all(map(math.isfinite, numbers))
        and all(_number(row["standard_error"]) >= 0 for row in rows)
    )


@lru_cache
def _shares(size: int) -> list[str]:
    return [f"mse_{band.orientation}{band.side}" for band in WaveletBasis(size).subbands]


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan
