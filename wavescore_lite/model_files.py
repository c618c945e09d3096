"""Models as files: the sums behind a fit, and all that makes the estimator again, in one npz file."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from .bases import Basis, make_basis
from .couplings import Coupling, Group
from .noise import SampledNoise
from .polynomials import PolynomialFamily
from .support import storage

if TYPE_CHECKING:
    from .fitting import Fit

M = TypeVar("M", bound="Fit[Any]")

HELD_OUT = "held_out_"  # before the names of sums over images that were held out


def save(model: Fit[Any], path: str | Path) -> None:
    """Write a fitted model: see `Fit.save`."""
    moments, held_out = model._fitted(), model.held_out
    header = {
        "kind": model.kind,
        "basis": {"kind": type(model.basis).__name__, **model.basis.options},
        "coupling": model.coupling.name,
        "polynomials": model.polynomials,
        "ridge": model.ridge,
        "target": model.target,
        "value_range": model.value_range,
        "noise": moments.noise and asdict(moments.noise),
        "data": model.data,
        "counts": [[sums.count, sums.seen] for sums in (moments, held_out) if sums],
    }
    arrays = {name: total.cpu().numpy() for name, total in moments.totals.items()}
    if held_out:
        arrays |= {f"{HELD_OUT}{name}": total.cpu().numpy() for name, total in held_out.totals.items()}
    for k, group in enumerate(model.groups):
        arrays |= {f"neighbours_{k}": group.neighbours, f"exponents_{k}": group.family.exponents}
        if group.ties is not None:
            arrays[f"ties_{k}"] = group.ties
    storage.write(path, header, arrays)


def load(cls: type[M], path: str | Path, basis: Basis | None, device: str) -> M:
    """Read a model: see `Fit.load`."""
    header, arrays = storage.read(path, cls.kind)
    own_basis = make_basis(**header["basis"])
    if basis is not None and basis != own_basis:
        raise ValueError(f"{path} is of {own_basis!r}; expected {basis!r}")
    groups = [
        Group(arrays[f"neighbours_{k}"], PolynomialFamily(arrays[f"exponents_{k}"]), arrays.get(f"ties_{k}"))
        for k in range(sum(name.startswith("neighbours_") for name in arrays))
    ]
    value_range = header["value_range"] and tuple(header["value_range"])
    options = {name: header[name] for name in ("polynomials", "ridge", "target")}
    coupling = Coupling(header["coupling"], lambda _: groups)
    model = cls(own_basis, coupling, value_range=value_range, device=device, **options)
    model._start(header["noise"] and SampledNoise(**header["noise"]))
    model.data = header["data"]
    parts = {"": model._fitted(), **({HELD_OUT: model.held_out} if model.held_out else {})}
    for (prefix, sums), (count, seen) in zip(parts.items(), header["counts"], strict=True):
        named = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
        sums.restore(named, count, seen, path)
    return model
