"""Cases run beside their bare counterparts, on a machine that others use too: medians and ratios are what is quoted."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

LINEAR = 1.1  # the largest exponent that passes for linear growth

Row = dict[str, Any]  # text and numbers by column; "" where there is nothing


@dataclass(frozen=True)
class Limit:
    """What one of a row's numbers must not exceed: its ratio, seconds, share, exponent or gib.

    Examples
    --------
    >>> row(case="a fit", ratio=2.0, limit=Limit("ratio", 2.5))["within"]
    'yes'
    """

    measure: str
    most: float


@dataclass(frozen=True)
class Case:
    """Something that is timed beside its bare counterpart.

    Parameters
    ----------
    name : str
    run, bare : callable
        What is timed; counterparts from `bare` return their number of floating-point operations.
    beside : str
        What the counterpart does.
    images, size : int
        What they work on.
    limit : Limit, optional
    share_of : str
        Name of an earlier case; this one's time is also given as a share of that one's.
    axis, at : str, float
        The axis of the picture that the case belongs to, if any, and its place there.
    """

    name: str
    run: Callable[[], object]
    bare: Callable[[], object]
    beside: str
    images: int
    size: int
    limit: Limit | None = None
    share_of: str = ""
    axis: str = ""
    at: float | str = ""


def interleaved(candidates: dict[str, Callable[[], object]], turns: int, seconds: float) -> dict[str, float]:
    """Median seconds of each candidate: in every turn each runs once.

    Parameters
    ----------
    candidates : dict of callable
    turns : int
        How many there are at least. The first is not counted, unless it is the only one.
    seconds : float
        Turns go on until so much time is over.

    Examples
    --------
    >>> medians = interleaved({"wait": lambda: time.sleep(0.01), "pass": lambda: None}, turns=3, seconds=0.1)
    >>> medians["wait"] > medians["pass"]
    True
    """
    taken: dict[str, list[float]] = {name: [] for name in candidates}
    begun, turn = time.perf_counter(), 0
    while turn < turns or time.perf_counter() - begun < seconds:
        for name, run in candidates.items():
            started = time.perf_counter()
            run()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            taken[name].append(time.perf_counter() - started)
        turn += 1
    return {name: statistics.median(values[1:] or values) for name, values in taken.items()}


def timed(case: Case, earlier: dict[str, float], turns: int, seconds: float, judged: bool) -> Row:
    """Time one case; `earlier` holds the seconds of those before it, `judged` says whether its limit applies."""
    operations: list[Any] = []
    medians = interleaved({"run": case.run, "bare": lambda: operations.append(case.bare())}, turns, seconds)
    return row(
        case=case.name,
        axis=case.axis,
        at=case.at,
        images=case.images,
        size=case.size,
        seconds=medians["run"],
        beside=case.beside,
        beside_seconds=medians["bare"],
        ratio=medians["run"] / medians["bare"],
        gflop="" if operations[-1] is None else operations[-1] / 1e9,
        share=medians["run"] / earlier[case.share_of] if case.share_of else "",
        limit=case.limit,
        judged=judged,
    )


def row(limit: Limit | None = None, judged: bool = True, **values: Any) -> Row:
    """One row of the table: all columns, empty where nothing is given, and what the limit says of it."""
    columns = "case axis at images size seconds beside beside_seconds ratio gflop share exponent gib"
    out: Row = {**dict.fromkeys(columns.split(), ""), **values}
    out |= {"measure": "", "limit": "", "within": ""}
    if limit is not None:
        out |= {"measure": limit.measure, "limit": limit.most}
        if judged:
            out["within"] = "yes" if out[limit.measure] <= limit.most else "no"
    return out


def growth(rows: list[Row], judged: bool) -> list[Row]:
    """Exponents with which the time of a pass grows with the images, and the time of an image with its pixels.

    Parameters
    ----------
    rows : list of dict
        Those of passes have "images" or "size" for their axis.
    judged : bool
        Whether their limit applies.
    """
    out = []
    for axis, unit in (("images", "images"), ("size", "pixels")):
        points = [row for row in rows if row["axis"] == axis]
        for name in dict.fromkeys(point["case"] for point in points):
            same = [point for point in points if point["case"] == name]
            count, size, seconds = (np.array([point[key] for point in same]) for key in ("images", "size", "seconds"))
            x, y = (count, seconds) if axis == "images" else (size**2, seconds / count)
            exponent = float(np.polyfit(np.log(x), np.log(y), 1)[0])
            limit = Limit("exponent", LINEAR)
            out.append(row(case=f"growth with {unit}, {name}", exponent=exponent, limit=limit, judged=judged))
    return out
