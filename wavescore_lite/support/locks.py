"""One process at a time: a file beside what is written that the system holds for as long as its owner lives."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(path: str | Path, patience: float = 0.0) -> Iterator[None]:
    """Keep others from a file while a table in it is read, extended and written again.

    The lock is ``.NAME.lock`` beside the file, which stays there, empty. It is the system's: one whose owner was killed
    is free at once.

    Parameters
    ----------
    path : path
        Of the file; it need not be there, its folder must.
    patience : float
        Seconds to wait for an owner.

    Raises
    ------
    TimeoutError
        If another process, or another thread of this one, has it.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "table.csv")
    >>> with locked(path), locked(path):
    ...     pass
    Traceback (most recent call last):
    ...
    TimeoutError: another run is at work on ...table.csv; wait until it has ended, or choose another folder
    """
    from filelock import FileLock, Timeout  # here, because what writes no table does without

    path = Path(path)
    lock = FileLock(path.with_name(f".{path.name}.lock"), timeout=patience)
    try:
        lock.acquire()
    except Timeout:
        raise TimeoutError(
            f"another run is at work on {path}; wait until it has ended, or choose another folder"
        ) from None
    try:
        yield
    finally:
        lock.release()
