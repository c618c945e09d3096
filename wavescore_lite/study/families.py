"""Couplings of `couplings.FAMILIES` as values: made by family and options, written to the columns of a row and back."""

from __future__ import annotations

from ast import literal_eval
from collections.abc import Mapping
from inspect import signature
from typing import Any

from ..couplings import FAMILIES, Coupling
from ..support.checks import check_choice

IN_COLUMNS = ("degree", "radius")  # options that have a column of their own


def couple(family: str, **options: Any) -> Coupling:
    """The coupling of a family in the registry, by its options.

    Raises
    ------
    ValueError
        If there is no such family.
    TypeError
        If it has no such option.

    Examples
    --------
    >>> couple("independent", degree=2)
    independent(degree=2)
    >>> couple("independent", radius=2)
    Traceback (most recent call last):
    ...
    TypeError: family 'independent' has no option radius; expected some of degree, parent, shared
    """
    make = FAMILIES[check_choice("family of a coupling", family, tuple(FAMILIES))]
    known = signature(make).parameters
    if unknown := [name for name in options if name not in known]:
        raise TypeError(
            f"family {family!r} has no option {', '.join(unknown)}; expected some of {', '.join(known) or 'none'}"
        )
    return make(**options)


def check_coupling(coupling: Coupling) -> None:
    """Refuse a coupling that a trial cannot be named by or a row cannot hold.

    Raises
    ------
    ValueError
        If it is of no family in the registry, has no degree, or an option that is neither a number nor a boolean.
    """
    check_choice("family of a coupling", coupling.family, tuple(FAMILIES))
    if "degree" not in coupling.options:
        raise ValueError(f"{coupling} has no option degree; expected one, by which trials are planned and named")
    for name, value in coupling.options.items():
        if not isinstance(value, int | float):
            raise ValueError(f"{name} of {coupling} is {value!r}; expected a number or a boolean, which a row can hold")


def extensions(coupling: Coupling) -> list[str]:
    """A word for each option that has no column and is not as usual.

    Examples
    --------
    >>> extensions(couple("band_tied", degree=2, parent=True))
    ['parent']
    """
    usual = {name: option.default for name, option in signature(FAMILIES[coupling.family]).parameters.items()}
    others = {name: value for name, value in coupling.options.items() if name not in IN_COLUMNS}
    return [name if on is True else f"{name}={on}" for name, on in others.items() if on != usual[name]]


def columns_of(coupling: Coupling) -> dict[str, object]:
    """Its part of a row: `coupling_of` is the way back.

    Examples
    --------
    >>> row = columns_of(couple("local_coupled", degree=2, shared=True))
    >>> row
    {'family': 'local_coupled', 'degree': 2, 'radius': 1, 'extensions': 'shared'}
    >>> coupling_of({name: str(value) for name, value in row.items()})
    local_coupled(degree=2, radius=1, shared=True)
    """
    whole = {name: value for name, value in coupling.options.items() if name in IN_COLUMNS}
    return {"family": coupling.family, **whole, "extensions": " ".join(extensions(coupling))}


def coupling_of(row: Mapping[str, str]) -> Coupling:
    """The coupling of a row of a table; the errors are those of `couple`."""
    words = [word.partition("=") for word in row["extensions"].split()]
    options = {name: literal_eval(value or "True") for name, _, value in words}
    taken = signature(FAMILIES[row["family"]]).parameters
    options |= {name: literal_eval(row[name]) for name in IN_COLUMNS if name in taken}
    return couple(row["family"], **options)
