"""Pictures that the chapters share: opaque white ground, colours that colour-blind readers can tell apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler

from .bases.wavelets import WaveletBasis
from .support.checks import check_images

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # Okabe and Ito


def use_style() -> None:
    """Set matplotlib's defaults for the book.

    Examples
    --------
    >>> use_style()
    >>> plt.rcParams["savefig.facecolor"]
    'white'
    """
    plt.rcParams.update(
        {
            "figure.facecolor": "white",
            "savefig.facecolor": "white",
            "figure.dpi": 110,
            "figure.constrained_layout.use": True,
            "axes.prop_cycle": cycler(color=PALETTE),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.alpha": 0.25,
            "font.size": 10,
            "axes.titlesize": 10,
            "legend.frameon": False,
            "image.cmap": "gray",
        }
    )


def image_grid(
    rows: Sequence[torch.Tensor] | torch.Tensor,
    row_titles: Sequence[str] | None = None,
    column_titles: Sequence[str] | None = None,
    limits: tuple[float, float] | None = (0.0, 1.0),
    side: float = 1.1,
) -> Figure:
    """Draw rows of images.

    Parameters
    ----------
    rows : sequence of tensor [n, height, width]
        One row each, all with the same n.
    row_titles, column_titles : sequence of str, optional
    limits : (float, float) or None
        Values shown as black and white; None stretches each image to its own range.
    side : float
        Side of one image in inches.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If the rows differ in length, or the titles do not match them.

    Examples
    --------
    >>> figure = image_grid([torch.rand(4, 8, 8), torch.rand(4, 8, 8)], row_titles=["clean", "noisy"])
    >>> len(figure.axes)
    8
    """
    rows = [check_images(row) for row in rows]
    if len({len(row) for row in rows}) != 1:
        raise ValueError(f"rows hold {[len(row) for row in rows]} images; expected as many in each")
    for name, titles, expected in (
        ("row_titles", row_titles, len(rows)),
        ("column_titles", column_titles, len(rows[0])),
    ):
        if titles is not None and len(titles) != expected:
            raise ValueError(f"{name} has {len(titles)} entries; expected {expected}")
    columns = len(rows[0])
    figure, axes = plt.subplots(
        len(rows), columns, figsize=(side * columns + bool(row_titles) * 0.9, side * len(rows)), squeeze=False
    )
    for r, row in enumerate(rows):
        for c, image in enumerate(row):
            low, high = limits or (None, None)
            axes[r, c].imshow(image.numpy(), vmin=low, vmax=high, interpolation="nearest")
            axes[r, c].set(xticks=[], yticks=[])
            axes[r, c].spines[:].set_visible(False)
            axes[r, c].grid(False)
        if row_titles:
            axes[r, 0].set_ylabel(row_titles[r], rotation=0, ha="right", va="center")
    for axis, title in zip(axes[0], column_titles or [], strict=False):
        axis.set_title(title)
    return figure


def tree_image(basis: WaveletBasis, values: torch.Tensor) -> np.ndarray:
    """Lay one value per coefficient out as the usual picture of a wavelet tree.

    Parameters
    ----------
    basis : WaveletBasis
    values : tensor [d]

    Returns
    -------
    float array [height, width]
        Scaling atoms in the upper left corner; h below, v to the right, d across, finer scales outwards.

    Examples
    --------
    >>> basis = WaveletBasis(8, level=1)
    >>> tree_image(basis, torch.arange(64.0))[:4, :4].max()
    np.float64(15.0)
    """
    numbers = np.asarray(values, dtype=float)
    if numbers.shape != (basis.dim,):
        raise ValueError(f"values have shape {list(numbers.shape)}; expected [{basis.dim}]")
    if not basis.orthonormal:
        raise ValueError(f"{basis!r} has more coefficients than pixels; expected a WaveletBasis")
    picture = np.empty(basis.shape)
    for band in basis.subbands:
        height, width = band.shape
        top, left = height * (band.orientation in "hd"), width * (band.orientation in "vd")
        picture[top : top + height, left : left + width] = numbers[band.slice].reshape(height, width)
    return picture


def draw_tree(axis: Axes, basis: WaveletBasis, values: torch.Tensor, label: str, **imshow: Any) -> None:
    """Draw `tree_image` with lines between the subbands and a labelled colour bar.

    Parameters
    ----------
    axis : matplotlib axes
    basis : WaveletBasis
    values : tensor [d]
    label : str
        What the colours mean, with its unit.
    **imshow
        Passed on to `Axes.imshow`.
    """
    shown = axis.imshow(tree_image(basis, values), interpolation="nearest", **imshow)
    axis.figure.colorbar(shown, ax=axis, label=label, shrink=0.85)
    for band in basis.subbands[1:]:
        if band.orientation == "h":
            below, beside = (side - 0.5 for side in band.shape)
            axis.plot([beside, beside], [-0.5, 2 * below + 0.5], color="white", linewidth=0.8)
            axis.plot([-0.5, 2 * beside + 0.5], [below, below], color="white", linewidth=0.8)
    axis.set(xticks=[], yticks=[])
    axis.grid(False)
