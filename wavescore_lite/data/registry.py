"""The data sets that there are. Each is a module of this folder that states what it offers as its ``DATASET``."""

from __future__ import annotations

from importlib import import_module

from .protocol import Dataset

NAMES = ("mnist", "strokes")
AUTO = ("mnist", "strokes")
"""What ``"auto"`` means where the first can be had, and elsewhere: the second needs no file and no network."""


def dataset(name: str) -> Dataset:
    """The data set of a name; its module is imported when it is first asked for.

    Examples
    --------
    >>> dataset("strokes").counts["test"]
    10000
    """
    from ..support.checks import check_choice  # with torch, which a list of names does without

    check_choice("dataset", name, NAMES)
    found: Dataset = import_module(f"{__package__}.{name}").DATASET
    return found
