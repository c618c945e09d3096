"""Files written whole or not at all: models as npz that is never a pickle, tables as CSV; and checksums of images."""

from __future__ import annotations

import csv
import io
import json
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

import numpy as np
import torch
from torch.nn.functional import pad

FORMAT = 2
ODD = np.uint64(0x9E3779B97F4A7C15)  # 2^64 divided by the golden ratio: multiplying by it permutes 64-bit numbers


def cache_folder() -> Path:
    """Where the package keeps what it fetched or drew: ``$XDG_CACHE_HOME/wavescore``, else ``~/.cache/wavescore``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser() / "wavescore"


@contextmanager
def whole_file(path: str | Path) -> Iterator[BinaryIO]:
    """Open `path` for writing bytes; readers, and an interrupted write, see what stood there before.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "greeting")
    >>> with whole_file(path) as file:
    ...     file.write(b"hello")
    5
    >>> path.read_bytes()
    b'hello'
    """
    path = Path(path)
    partial = path.with_name(f"{path.name}.{uuid4().hex}.part")  # of this call alone, whatever else writes here
    try:
        with open(partial, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write(path: str | Path, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray], version: int = FORMAT) -> None:
    """Write header and arrays to `path`, all of them or nothing.

    Parameters
    ----------
    path : path
    header : mapping of JSON values
    arrays : mapping of arrays
    version : int
        Of what is written, for files of a kind that changed.
    """
    members: dict[str, Any] = {"header": np.array(json.dumps({"format": version, **header})), **arrays}
    with whole_file(path) as file:
        np.savez(file, **members)


def read(path: str | Path, kind: str, version: int = FORMAT) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read header and arrays of a file that `write` made, with header["kind"] == kind.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is cut short or damaged, no such file, of another format version or kind.
    """
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        header = dict(json.loads(str(arrays.pop("header"))))
    except FileNotFoundError:
        raise
    except (OSError, EOFError, TypeError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"{path} is cut short, damaged or no wavescore file; expected one written by save()"
        ) from error
    if header.get("kind") != kind:
        raise ValueError(f"{path} is of kind {header.get('kind')!r}; expected {kind!r}")
    if header.get("format") != version:
        raise ValueError(
            f"{path} is of format {header.get('format')}, and this version reads {version}: make it again, by the same "
            "fit or run, or read it with the version that wrote it"
        )
    return header, arrays


def write_rows(path: str | Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write a table as CSV, all of it or nothing.

    Parameters
    ----------
    path : path
    rows : sequence of dict
        One or more, all with the same keys, which become the header.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "table.csv")
    >>> write_rows(path, [{"step": 1, "loss": 0.5}])
    >>> read_rows(path)
    [{'step': '1', 'loss': '0.5'}]
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with whole_file(path) as file:
        file.write(text.getvalue().encode())


def read_rows(path: str | Path) -> list[dict[str, str]]:
    """Rows of a table that `write_rows` wrote, all values as text; an absent file has none."""
    path = Path(path)
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def image_checksum(images: torch.Tensor) -> int:
    """Sum modulo 2^64 of a 64-bit checksum of each image, in float32: the same in any order and any split.

    It tells sets of images apart that differ by accident; it does not withstand intent.

    Parameters
    ----------
    images : tensor [n, height, width], float32 or float64

    Returns
    -------
    int from 0 to 2^64 - 1

    Examples
    --------
    >>> images = torch.rand(10, 8, 8)
    >>> image_checksum(images) == (image_checksum(images[:3]) + image_checksum(images[3:])) % 2**64
    True
    """
    values = images.cpu().float().contiguous().flatten(1)
    words = pad(values, (0, values.shape[1] % 2)).numpy().view(np.uint64)
    place = np.arange(1, words.shape[1] + 1, dtype=np.uint64) * ODD | np.uint64(1)
    checksum = words @ place + ODD
    for shift in (29, 32):
        checksum = (checksum ^ (checksum >> np.uint64(shift))) * ODD
    return int(checksum.sum(dtype=np.uint64))
