"""Progress bars for long runs: on a terminal only, and never in the way of the work."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, TypeVar

from tqdm import tqdm

T = TypeVar("T")


def progress(iterable: Iterable[T] | None = None, **options: Any) -> tqdm[T]:
    """tqdm's bar, with its options, silent where standard error is no terminal, or closed.

    Examples
    --------
    >>> sum(progress([1, 2, 3], desc="counting"))
    6
    """
    return tqdm(iterable, disable=True if sys.stderr is None else None, **options)
