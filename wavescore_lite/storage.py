"""Models as npz files: a JSON header and arrays, never a pickle; written whole or not at all."""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from pathlib import Path

import numpy as np

FORMAT = 1


def write(path: str | Path, header: dict, arrays: dict[str, np.ndarray]) -> None:
    """Write header and arrays to `path`; an interrupted write leaves what stood there before.

    Parameters
    ----------
    path : path
    header : dict of JSON values
    arrays : dict of arrays
    """
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    try:
        with open(partial, "wb") as file:
            np.savez(file, header=np.array(json.dumps({"format": FORMAT, **header})), **arrays)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def read(path: str | Path, kind: str) -> tuple[dict, dict[str, np.ndarray]]:
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
        header = json.loads(str(arrays.pop("header")))
    except FileNotFoundError:
        raise
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"{path} is cut short, damaged or no wavescore file; expected one written by save()"
        ) from error
    if header.get("format") != FORMAT or header.get("kind") != kind:
        raise ValueError(
            f"{path} has format {header.get('format')} and kind {header.get('kind')!r}; expected {FORMAT} and {kind!r}"
        )
    return header, arrays
