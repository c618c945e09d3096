"""IDX files, the format of MNIST: a header that declares the shape, then unsigned bytes; gzipped or not."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from pathlib import Path

import numpy as np

_sound: set[tuple[Path, int, int, str]] = set()
"""Files whose contents were verified: path, size, time of the last change, digest."""


def read_idx(path: str | Path, shape: tuple[int, ...], sha256: str | None = None) -> np.ndarray:
    """Read an IDX file of unsigned bytes, or its gzipped twin ``path + ".gz"``; refuse all but the given shape.

    Parameters
    ----------
    path : path
    shape : tuple of int
    sha256 : str, optional
        Digest of the whole file, unzipped, in hexadecimal. It is compared once for each file in a process, and again
        when size or time of the file have changed.

    Returns
    -------
    uint8 array of the given shape

    Raises
    ------
    FileNotFoundError
        Neither file is there.
    ValueError
        The file is cut short or too long, has another magic number, shape or digest, or is no sound gzip.
    """
    plain = Path(path)
    file = plain if plain.is_file() else plain.with_name(plain.name + ".gz")
    if not file.is_file():
        raise FileNotFoundError(f"{plain} is missing (and {file.name} too); expected unsigned bytes of shape {shape}")
    try:
        data = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{file} is truncated or no gzip file ({error}); expected shape {shape}") from None
    start, magic = 4 + 4 * len(shape), 0x0800 + len(shape)
    expected = start + int(np.prod(shape))
    if len(data) < start:
        raise ValueError(f"{file} is truncated: {len(data)} bytes, expected {expected}")
    header = np.frombuffer(data[:start], dtype=">u4").tolist()
    if header[0] != magic:
        raise ValueError(f"{file} has magic number {header[0]:#010x}, expected {magic:#010x}")
    if tuple(header[1:]) != tuple(shape):
        raise ValueError(f"{file} declares shape {tuple(header[1:])}, expected {tuple(shape)}")
    if len(data) != expected:
        fault = "truncated" if len(data) < expected else "too long"
        raise ValueError(f"{file} is {fault}: {len(data)} bytes, expected {expected}")
    if sha256 is not None:
        _verify(file, data, sha256)
    return np.frombuffer(data, dtype=np.uint8, offset=start).reshape(shape)


def _verify(file: Path, data: bytes, sha256: str) -> None:
    stat = file.stat()
    key = (file.absolute(), stat.st_size, stat.st_mtime_ns, sha256)
    if key not in _sound:
        if (found := hashlib.sha256(data).hexdigest()) != sha256:
            raise ValueError(f"{file} is damaged: its contents have sha256 {found}, expected {sha256}")
        _sound.add(key)
