"""Files written whole or not at all: arrays as safetensors with a digest, tables as CSV; and checksums of images."""

from __future__ import annotations

import csv
import glob
import hashlib
import io
import json
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

import numpy as np
import torch
from torch.nn.functional import pad

FORMAT = 2
KEY = "wavescore"  # of digest and header, in the metadata of a safetensors file
ABANDONED = 24 * 3600.0  # seconds without a write, after which nobody is still at it
ODD = np.uint64(0x9E3779B97F4A7C15)  # 2^64 divided by the golden ratio: multiplying by it permutes 64-bit numbers


def cache_folder() -> Path:
    """Where the package keeps what it fetched or drew: ``$XDG_CACHE_HOME/wavescore``, else ``~/.cache/wavescore``.

    Raises
    ------
    FileNotFoundError
        If the first is not set, and the user has no home directory.
    """
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser() / "wavescore"
    except RuntimeError:
        raise FileNotFoundError("this user has no home directory to keep files in; expected XDG_CACHE_HOME") from None


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
    clear_parts(path.parent, f"{path.name}.", ABANDONED)
    partial = path.with_name(f"{path.name}.{uuid4().hex}.part")  # of this call alone, whatever else writes here
    try:
        with open(partial, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def clear_parts(folder: Path, start: str, age: float = 0.0) -> None:
    """Remove what killed writes left: files of `folder` that begin with `start` and are `age` seconds old.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> (folder / "table.csv.0123.part").touch()
    >>> clear_parts(folder, "table.csv.")
    >>> list(folder.iterdir())
    []
    """
    for part in folder.glob(f"{glob.escape(start)}*.part"):
        with suppress(OSError):
            if time.time() - part.stat().st_mtime >= age:
                part.unlink()


def write(path: str | Path, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray], version: int = FORMAT) -> None:
    """Write header and arrays to a safetensors file, all of them or nothing, with a digest of both.

    Parameters
    ----------
    path : path
    header : mapping of JSON values
    arrays : mapping of arrays
        Of numbers or booleans.
    version : int
        Of what is written, for files of a kind that changed.

    Raises
    ------
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "sums.safetensors")
    >>> write(path, {"kind": "sums", "count": 2}, {"total": np.array([1.0, 2.0])})
    >>> read(path, "sums")
    ({'format': 2, 'kind': 'sums', 'count': 2}, {'total': array([1., 2.])})
    """
    from safetensors import SafetensorError  # here, because a model that is neither saved nor loaded does without
    from safetensors.numpy import save_file

    whole = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    told = json.dumps({"format": version, **header})
    metadata = {KEY: f"{_digest(told, whole)} {told}"}
    with whole_file(path) as file:
        try:
            save_file(whole, file.name, metadata)
        except SafetensorError as error:
            raise OSError(f"{path} could not be written: {error}") from error


def read(path: str | Path, kind: str, version: int = FORMAT) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read header and arrays of a file that `write` made, with header["kind"] == kind.

    Nothing is compressed, and all sizes are compared with that of the file before an array is made.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is cut short or damaged, no such file, of another format version or kind.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            digest, _, told = file.metadata()[KEY].partition(" ")
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, for it is no mapping
        if digest != _digest(told, arrays):
            raise ValueError("the digest is of other contents")
        header = dict(json.loads(told))
    except FileNotFoundError:
        raise
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} is cut short, damaged or no wavescore file of this version; expected one written by save()"
        ) from error
    if header.get("kind") != kind:
        raise ValueError(f"{path} is of kind {header.get('kind')!r}; expected {kind!r}")
    if header.get("format") != version:
        raise ValueError(
            f"{path} is of format {header.get('format')}, and this version reads {version}: make it again, by the same "
            "fit or run, or read it with the version that wrote it"
        )
    return header, arrays


def recall(
    path: str | Path, kind: str, about: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, np.ndarray]] | None:
    """What `read` gives, if there is such a file, whole, whose header says all that `about` does; else None."""
    try:
        header, arrays = read(path, kind)
    except (FileNotFoundError, ValueError):
        return None
    return (header, arrays) if json.loads(json.dumps(about)).items() <= header.items() else None


def kind_of(path: str | Path) -> str:
    """The kind of a file that `write` made, as its header says; a ValueError for others. `read` looks at the rest."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            return str(json.loads(file.metadata()[KEY].partition(" ")[2])["kind"])
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged or no wavescore file; expected one written by save()") from error


def file_name(words: str) -> str:
    """Words as the name of a file.

    Examples
    --------
    >>> file_name("local_coupled D=3 r=1 joint")
    'local-coupled-D=3-r=1-joint'
    """
    return re.sub("[^A-Za-z0-9.=+]+", "-", words).strip("-")


def _digest(header: str, arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of the header and of names, types, shapes and values of the arrays, each contiguous."""
    digest = hashlib.sha256(header.encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


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
    """Rows of a table that `write_rows` wrote, all values as text; an absent file has none.

    A byte order mark, which spreadsheets put in front, is no part of it. A ValueError if the file is no CSV in UTF-8.
    """
    path = Path(path)
    if not path.exists():
        return []
    try:
        with open(path, newline="", encoding="utf-8-sig") as stream:
            return list(csv.DictReader(stream))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is no table in UTF-8: {error}") from error


def image_checksum(images: torch.Tensor) -> int:
    """Sum modulo 2^64 of the `image_checksums`: the same in any order and any split.

    Examples
    --------
    >>> images = torch.rand(10, 8, 8)
    >>> image_checksum(images) == (image_checksum(images[:3]) + image_checksum(images[3:])) % 2**64
    True
    """
    return int(image_checksums(images).sum(dtype=np.uint64))


def image_checksums(images: torch.Tensor) -> np.ndarray:
    """A 64-bit checksum of each image, in float32.

    It tells sets of images apart that differ by accident; it does not withstand intent.

    Parameters
    ----------
    images : tensor [n, height, width], float32 or float64

    Returns
    -------
    uint64 array [n]
    """
    values = images.cpu().float().contiguous().flatten(1)
    words = pad(values, (0, values.shape[1] % 2)).numpy().view(np.uint64)
    place = np.arange(1, words.shape[1] + 1, dtype=np.uint64) * ODD | np.uint64(1)
    checksum = words @ place + ODD
    for shift in (29, 32):
        checksum = (checksum ^ (checksum >> np.uint64(shift))) * ODD
    return checksum
