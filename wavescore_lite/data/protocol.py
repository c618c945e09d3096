"""What a data set is: what its module states about it, and all that the package asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import torch

Root = str | Path | None
"""The only folder in which to look, if one is given."""


class DataUnavailable(FileNotFoundError):
    """The data are not in the place that decides and cannot be fetched. (A damaged copy is another error.)"""


class Place(NamedTuple):
    """A folder in which data may lie, and what the folder is called."""

    name: str
    folder: Path


@dataclass(frozen=True)
class Files:
    """How data that lie in files are found.

    Attributes
    ----------
    places : callable
        From a root to the places that are set; only the first is looked at. A user without a home directory may have
        none.
    ensure : callable
        Have the data in a place, fetching them if that is how they come there, and say how they came. It raises
        `DataUnavailable` if they are not there, and another OSError or a ValueError if they are damaged.
    state : callable
        What is in a place, in a few words; fetches nothing. ``"found"`` says that all is well.
    title : str
        What the data set is called in a sentence.
    advice : str
        The ways to have the data, a line each, for somebody who has not.
    """

    places: Callable[[Root], Sequence[Place]]
    ensure: Callable[[Place], str]
    state: Callable[[Place], str]
    title: str
    advice: str


@dataclass(frozen=True)
class Dataset:
    """A data set, as one value: the ``DATASET`` of its module.

    Attributes
    ----------
    name : str
        Also that of its module.
    counts : mapping of str to int
        Images in each split, by its name.
    sizing : str
        How its images come to the size that is asked for.
    images : callable
        From (size, split, count, root) to the first images of a split, float32 [count, size, size] in [0, 1].
    labels : callable
        From (split, count, root) to their classes, int64 [count].
    files : Files, optional
        How it is found; None if the package draws it.
    """

    name: str
    counts: Mapping[str, int]
    sizing: str
    images: Callable[[int, str, int, Root], torch.Tensor]
    labels: Callable[[str, int, Root], torch.Tensor]
    files: Files | None = None
