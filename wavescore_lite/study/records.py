"""Numbers of a chapter, compared with the references recorded for the dataset at hand."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..support.checkout import checkout, copy_at_hand
from ..support.storage import whole_file

RECORD_VARIABLE = "WAVESCORE_RECORD"

References = dict[str, dict[str, float]]


class Record:
    """The reference numbers of one chapter on one dataset.

    They are kept in ``book/records/<chapter>.json`` as ``{dataset: {name: value}}``. :meth:`check` compares numbers
    with a tolerance and prints one line in which no dataset shows, so that notebook tests can compare it.

    With the environment variable ``WAVESCORE_RECORD=1`` the numbers are written instead of compared. A chapter that was
    downloaded by itself has no record at hand: then the line says so, and the chapter goes on.

    Parameters
    ----------
    chapter : str
        Name of the chapter, which is the name of its notebook without ``.ipynb``.
    dataset : str
        Name of the dataset that the numbers come from, for instance ``"mnist"``.
    folder : str or Path, optional
        Where the references are kept; by default ``book/records`` in the copy of the book at hand, see
        `support.checkout`.

    Examples
    --------
    >>> import os, tempfile
    >>> folder = tempfile.mkdtemp()
    >>> os.environ["WAVESCORE_RECORD"] = "1"
    >>> Record("example", "strokes", folder).check({"mse": 0.01234, "images": 60_000})
    2 numbers agree with the record to 0.5 %
    >>> del os.environ["WAVESCORE_RECORD"]
    >>> Record("example", "strokes", folder).check({"mse": 0.01235, "images": 60_000})
    2 numbers agree with the record to 0.5 %
    >>> Record("example", "strokes", folder).check({"mse": 0.02})
    Traceback (most recent call last):
        ...
    ValueError: 1 of 1 numbers of example on strokes left the record (relative tolerance 0.005):
      mse: value 0.02, reference 0.01234, relative deviation 0.621
    """

    def __init__(self, chapter: str, dataset: str, folder: str | Path | None = None) -> None:
        self.chapter = chapter
        self.dataset = dataset
        self.folder = folder

    @property
    def path(self) -> Path:
        """File of the references; a FileNotFoundError if no folder was given and no copy of the book is at hand."""
        return Path(checkout() / "book" / "records" if self.folder is None else self.folder, f"{self.chapter}.json")

    def check(self, values: Mapping[Any, Any], rtol: float = 5e-3, atol: float = 0.0) -> None:
        """Compare named numbers with their references, and print one line that says they agree.

        Where no folder is given and there is no copy of the book at hand, nothing is compared, and the line says that.

        Parameters
        ----------
        values : mapping
            The numbers, finite, by name; arrays and tensors with one element will do. Mappings, sequences, and larger
            arrays and tensors are taken apart, and their keys and places added to the name.
        rtol, atol : float, optional
            A number agrees when ``abs(value - reference) <= atol + rtol * abs(reference)``. Give `atol` where
            the reference is 0 or nearly so.

        Raises
        ------
        FileNotFoundError
            When there is a place for records, and the chapter has none there; or none to write one to.
        KeyError
            When the record lacks the dataset or one of the names.
        ValueError
            When a number is not finite or deviates from its reference, or two have one name.

        Examples
        --------
        >>> import os, tempfile
        >>> record = Record("example", "strokes", tempfile.mkdtemp())
        >>> os.environ["WAVESCORE_RECORD"] = "1"
        >>> record.check({"mse": {("linear", 0.5): [0.02, 0.03]}})
        2 numbers agree with the record to 0.5 %
        >>> del os.environ["WAVESCORE_RECORD"]
        >>> record.recorded()
        {'mse, linear, 0.5, 0': 0.02, 'mse, linear, 0.5, 1': 0.03}
        """
        named = list(_taken_apart((), values))
        numbers = {name: _finite(name, value) for name, value in named}
        if len(numbers) < len(named):
            twice = sorted({name for name, _ in named if [other for other, _ in named].count(name) > 1})
            raise ValueError(f"Record.check of {self.chapter!r} got two numbers for {'; '.join(twice)}; expected one.")
        if not numbers:
            raise ValueError(f"Record.check of {self.chapter!r} got no numbers; expected at least one.")
        if os.environ.get(RECORD_VARIABLE) == "1":
            self._write(numbers)
        elif self.folder is None and copy_at_hand() is None:
            print("There is no copy of the book here, and so no record: nothing is compared.")
            return
        else:
            self._compare(numbers, self._references(numbers), rtol, atol)
        noun = "number agrees" if len(numbers) == 1 else "numbers agree"
        tolerance = f"{100 * rtol:g} %" if rtol else f"{atol:g}"
        print(f"{len(numbers)} {noun} with the record to {tolerance}")

    def recorded(self) -> dict[str, float]:
        """All references of the chapter on the dataset, by name; see `check` for the errors."""
        return dict(self._references({}))

    def _references(self, names: Mapping[str, float]) -> dict[str, float]:
        if not self.path.is_file():
            raise FileNotFoundError(
                f"There is no record of chapter {self.chapter!r} at {self.path.absolute()}. {_HOW_TO_RECORD}"
            )
        record = _read(self.path)
        if self.dataset not in record:
            known = ", ".join(sorted(record)) or "none"
            raise KeyError(
                f"The record {self.path} has no dataset {self.dataset!r} (it has: {known}). {_HOW_TO_RECORD}"
            )
        references = record[self.dataset]
        missing = sorted(set(names) - set(references))
        if missing:
            raise KeyError(
                f"The record {self.path} has no reference on {self.dataset} for {', '.join(missing)}. {_HOW_TO_RECORD}"
            )
        return references

    def _compare(self, numbers: Mapping[str, float], references: Mapping[str, float], rtol: float, atol: float) -> None:
        deviations = []
        for name, value in numbers.items():
            reference = references[name]
            difference = abs(value - reference)
            if difference > atol + rtol * abs(reference):
                relative = difference / abs(reference) if reference else math.inf
                deviations.append(
                    f"  {name}: value {value:.6g}, reference {reference:.6g}, relative deviation {relative:.3g}"
                )
        if deviations:
            absolute = f", absolute tolerance {atol:g}" if atol else ""
            raise ValueError(
                f"{len(deviations)} of {len(numbers)} numbers of {self.chapter} on {self.dataset} left the "
                f"record (relative tolerance {rtol:g}{absolute}):\n" + "\n".join(deviations)
            )

    def _write(self, numbers: Mapping[str, float]) -> None:
        record = _read(self.path) if self.path.is_file() else {}
        record.setdefault(self.dataset, {}).update(numbers)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(self.path) as file:
            file.write((json.dumps(record, indent=1, sort_keys=True) + "\n").encode())


_HOW_TO_RECORD = f"Run the chapter with {RECORD_VARIABLE}=1 on that dataset to record its numbers."


def _read(path: Path) -> References:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"The record {path} is not JSON: {error}.") from error
    if not isinstance(record, dict) or not all(isinstance(entry, dict) for entry in record.values()):
        raise ValueError(f"The record {path} must hold {{dataset: {{name: number}}}}.")
    return record


def _taken_apart(keys: tuple[Any, ...], value: Any) -> Iterator[tuple[str, Any]]:
    """Each number in `value` with its name, which says the way to it."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _taken_apart((*keys, *(key if isinstance(key, tuple) else (key,))), item)
    elif isinstance(value, list | tuple) or (isinstance(value, np.ndarray | torch.Tensor) and len(value.ravel()) != 1):
        for place, item in enumerate(value):
            yield from _taken_apart((*keys, place), item)
    else:
        yield ", ".join(f"{key:g}" if isinstance(key, float) else str(key) for key in keys), value


def _finite(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{name!r} must be one number, got {type(value).__name__} {value!r}.") from error
    if not math.isfinite(number):
        raise ValueError(f"{name!r} must be finite, got {number}.")
    return number
