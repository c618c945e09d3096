"""What was measured, as a table, a CSV file and a picture."""

from __future__ import annotations

import itertools
import platform
from contextlib import suppress
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from tabulate import tabulate

from .. import plots
from ..support.storage import whole_file, write_rows
from .cases import FAMILIES
from .setting import ALL_IMAGES, FULL_SIZE, Setting
from .timing import Row

AXES = {"images": "images", "size": "side of the images in pixels", "radius": "radius", "degree": "degree"}
FILES = ("bench.csv", "bench.png")


def heading(setting: Setting) -> str:
    """On what was measured, in one line."""
    where = f"{_processor()}, threads: {torch.get_num_threads()}"
    if setting.device == "cuda":
        where += f" and {torch.cuda.get_device_name()}"
    what = f"{setting.images:,} images of {setting.dataset}, {setting.size} x {setting.size}"
    return f"{what}; {where}; torch {torch.__version__}"


def verdict(rows: list[Row]) -> str:
    """How many limits are kept, and which are not.

    Examples
    --------
    >>> verdict([{"case": "a fit", "within": "yes"}, {"case": "a solution", "within": "no"}])
    '1 of 2 limits kept; not: a solution'
    """
    judged = [row for row in rows if row["within"]]
    if not judged:
        return f"no limit judged: they are set for {ALL_IMAGES:,} images of {FULL_SIZE} x {FULL_SIZE} on the CPU"
    missed = [row["case"] for row in judged if row["within"] == "no"]
    return "; not: ".join([f"{len(judged) - len(missed)} of {len(judged)} limits kept", *missed])


def table(rows: list[Row]) -> str:
    """The rows for a terminal."""
    headers = "case,images,size,seconds,beside,its seconds,ratio,GFLOP,judged by,at most,within"
    keys = "case images size seconds beside beside_seconds ratio gflop judged limit within"
    lines = [[(row | {"judged": _judged(row)})[key] for key in keys.split()] for row in rows]
    return tabulate(lines, headers.split(","), floatfmt=".3g")


def picture(rows: list[Row]) -> Figure:
    """Cost of passes against images, size, radius and degree; a flat line grows no faster than the data.

    Parameters
    ----------
    rows : list of dict
        What `measure` returned.
    """
    plots.use_style()
    figure, axes = plt.subplots(2, 2, figsize=(9, 7), sharey=True)
    for axis, (key, label) in zip(axes.flat, AXES.items(), strict=True):
        axis.set(xlabel=label, yscale="log", xscale="log" if key in ("images", "size") else "linear")
        _draw(axis, [row for row in rows if row["axis"] == key])
    for axis in axes[:, 0]:
        axis.set_ylabel("ns per image and pixel")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=len(FAMILIES))
    return figure


def write(rows: list[Row], title: str, folder: Path) -> None:
    """Write the rows to bench.csv and their picture to bench.png, each whole or not at all."""
    figure = picture(rows)
    figure.suptitle(title, fontsize=9)
    table_file, picture_file = (folder / name for name in FILES)
    write_rows(table_file, [{key: _rounded(value) for key, value in row.items()} for row in rows])
    with whole_file(picture_file) as file:
        figure.savefig(file, format="png", dpi=150)
    plt.close(figure)


def _draw(axis: Axes, points: list[Row]) -> None:
    for family, colour in zip(FAMILIES, itertools.cycle(plots.PALETTE), strict=False):
        own = [point for point in points if point["case"].partition("(")[0] == f"pass, {family.name}"]
        pixels = [point["images"] * point["size"] ** 2 for point in own]
        for key, style, label in (("seconds", "-o", ""), ("beside_seconds", "--", ", bare arithmetic")):
            cost = [1e9 * point[key] / count for point, count in zip(own, pixels, strict=True)]
            axis.plot(
                [point["at"] for point in own], cost, style, color=colour, markersize=4, label=family.name + label
            )
    places = sorted({point["at"] for point in points})
    axis.set_xticks(places, [f"{place:,}" for place in places])
    axis.xaxis.set_minor_locator(NullLocator())


def _judged(row: Row) -> str:
    """The number that has a limit."""
    return f"{row['measure']} {row[row['measure']]:.3g}" if row["measure"] else ""


def _rounded(value: str | float) -> str | float:
    return f"{value:.4g}" if isinstance(value, float) else value


def _processor() -> str:
    """The processor's name, where the system tells."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
