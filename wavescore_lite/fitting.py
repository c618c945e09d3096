"""How an estimator is fitted: sums over images, which grow, merge and are kept in a file; `estimator` solves them."""

from __future__ import annotations

import copy
import json
from abc import ABC, abstractmethod
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import torch

from .bases import KINDS, Basis, make_basis
from .couplings import FAMILIES, Coupling, Tables
from .groups import Group
from .noise import SampledNoise
from .polynomials import PolynomialFamily
from .sums import Sums, batch_size
from .support import storage
from .support.checks import check_choice, check_device, check_images, check_interval, check_kind, check_ridge
from .support.storage import image_checksums

TARGETS = ("denoise", "score")
POLYNOMIALS = ("monomial", "hermite")
HELD_OUT = 10  # with ridge="auto" one image of so many is held out to choose it, whatever images come with it
FORMAT, PREFIX = 4, "held_out_"  # of files; before the names of sums over images that were held out

E = TypeVar("E")  # equations of a kind of fit


class Fit(ABC, Generic[E]):
    """What is fitted (a basis, a coupling, how to solve), and the sums over images behind it."""

    kind: ClassVar[str]

    def __init__(
        self,
        basis: Basis,
        coupling: Coupling,
        polynomials: str = "monomial",
        ridge: float | str = 1e-6,
        target: str = "denoise",
        value_range: tuple[float, float] | None = (0.0, 1.0),
        device: str = "cpu",
        bounded: bool = True,
    ) -> None:
        self.basis = check_kind("basis", basis, Basis, "WaveletBasis(32)")
        self.coupling = check_kind("coupling", coupling, Coupling, "independent(degree=3)")
        self.polynomials = check_choice("polynomials", polynomials, POLYNOMIALS)
        self.ridge = ridge if ridge == "auto" else check_ridge(ridge)
        self.target = check_choice("target", target, TARGETS)
        self.value_range = value_range if value_range is None else check_interval("value_range", value_range)
        self.device, self.bounded = check_device(device), bool(bounded)
        if target == "score" and not basis.orthonormal:
            raise ValueError(
                f"target is 'score', but coefficient noise is correlated in {basis!r}, and Stein's identity would need "
                "derivatives by every coefficient; expected target='denoise', or a WaveletBasis"
            )
        self.groups = coupling.groups(basis)
        self.moments: Sums[E] | None = None
        self.held_out: Sums[E] | None = None
        self.data = 0
        self._solved: dict[float, Any] = {}  # solutions by noise level
        self._ridges: dict[float, float] = {}  # chosen ridges by noise level
        self._told = False  # of digits that are lost
        self._prepare()

    def __repr__(self) -> str:
        ridge = repr(self.ridge) if self.ridge == "auto" else f"{self.ridge:g}"
        bare = "" if self.bounded else ", bounded=False"
        return (
            f"{self.kind}({self.basis!r}, {self.coupling!r}, polynomials={self.polynomials!r}, "
            f"ridge={ridge}, target={self.target!r}{bare})"
        )

    def __getstate__(self) -> dict[str, Any]:
        """For pickles and copies: a coupling whose rule is one's own goes by its tables."""
        known = self.coupling.family in FAMILIES
        return self.__dict__ | {"coupling": self.coupling if known else self.coupling.tabled(self.basis, self.groups)}

    def to(self, device: str) -> Self:
        """Move the sums to a device, "cpu" or "cuda", where further images are summed and estimates made.

        Returns
        -------
        The model itself.

        Raises
        ------
        ValueError
            For another device, or one that is not there.
        """
        self.device = check_device(device)
        self.moments, self.held_out = (sums and sums.to(self.device) for sums in (self.moments, self.held_out))
        return self

    def _prepare(self) -> None:
        """What a fit needs besides; nothing by default."""

    @abstractmethod
    def memory(self, noise: SampledNoise | None = None) -> int:
        """Bytes that a fit and one solution take at most, besides the images."""

    @abstractmethod
    def _new_moments(self, noise: SampledNoise | None) -> Sums[E]:
        """Sums over no image; a MemoryError if there is no room for them."""

    def fit(self, images: torch.Tensor, noise: SampledNoise | None = None) -> Self:
        """Fit on clean images, forgetting any fit before.

        Parameters
        ----------
        images : tensor [n, height, width], float32 or float64, clean
        noise : SampledNoise, optional
            Fit on noisy copies at given sigmas. By default the noise is integrated out, and every sigma is fitted.

        Returns
        -------
        The model itself.

        Raises
        ------
        TypeError, ValueError
            For images of another shape or dtype, out of range, not finite, or none at all; in a frame also if no
            sampled noise is given.
        MemoryError
            If the sums would not fit into memory.
        """
        images = check_images(images, self.basis.shape, self.value_range)
        self._start(noise)
        return self._add(images)

    def partial_fit(self, images: torch.Tensor) -> Self:
        """Add clean images to the fit; any split into batches gives the same model, to rounding.

        A model that is not fitted yet starts with the noise integrated out; for sampled noise `fit` comes first.
        """
        images = check_images(images, self.basis.shape, self.value_range)
        if self.moments is None:
            self._start(None)
        return self._add(images)

    def merge(self, other: Self) -> Self:
        """The fit of both models' images together, as a new model.

        Raises
        ------
        ValueError
            If the models differ in basis, coupling, polynomials, ridge, target, value range or whether they are
            bounded, or one is fitted on sampled noise and the other is not.
        RuntimeError
            If one of them is not fitted.
        MemoryError
            If the sums of both would not fit into memory.
        """
        if not (repr(self) == repr(other) and self.basis == other.basis and self.value_range == other.value_range):
            raise ValueError(f"cannot merge {self!r} with {other!r}; expected two models made alike")
        same = [one.equals(another) for one, another in zip(self.groups, other.groups, strict=False)]
        if len(self.groups) != len(other.groups) or not all(same):
            raise ValueError(
                f"cannot merge two models whose {self.coupling!r} have other tables; expected one coupling"
            )
        ours, theirs = self._fitted(), other._fitted()
        merged = self._unsolved_copy()
        merged.moments = ours.merge(theirs)
        if self.held_out is not None and other.held_out is not None:
            merged.held_out = self.held_out.merge(other.held_out)
        merged.data = (self.data + other.data) % 2**64
        return merged

    @property
    def fingerprint(self) -> str:
        """What images the sums are over: their number and a checksum, the same in any order and any split."""
        return f"{self._fitted().seen} images {self.data:016x}"

    def save(self, path: str | Path) -> None:
        """Write the model, with its sums, to a safetensors file, all of it or nothing; `load` reads it."""
        moments = self._fitted()
        header = {
            "kind": self.kind,
            "basis": {"kind": type(self.basis).__name__, **self.basis.options},
            "coupling": {name: getattr(self.coupling, name) for name in ("name", "family", "options")},
            "polynomials": self.polynomials,
            "ridge": self.ridge,
            "target": self.target,
            "value_range": self.value_range,
            "bounded": self.bounded,
            "noise": moments.noise and asdict(moments.noise),
            "data": self.data,
            "counts": [[sums.count, sums.seen] for sums in (moments, self.held_out) if sums],
        }
        arrays = {name: total.cpu().numpy() for name, total in moments.stored().items()}
        if self.held_out:
            arrays |= {f"{PREFIX}{name}": total.cpu().numpy() for name, total in self.held_out.stored().items()}
        for k, group in enumerate(self.groups):
            arrays |= {f"neighbours_{k}": group.neighbours, f"exponents_{k}": group.family.exponents}
            if group.ties is not None:
                arrays[f"ties_{k}"] = group.ties
        storage.write(path, header, arrays, FORMAT)

    @classmethod
    def load(cls, path: str | Path, basis: Basis | None = None, device: str = "cpu") -> Self:
        """Read a model that `save` wrote.

        Parameters
        ----------
        path : path
        basis : Basis, optional
            The basis that the model is expected to be in; needed if it is none of the package's.
        device : str
            Where the model is to live: "cpu" or "cuda".

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If the file is cut short, damaged, of another version, or of another basis than the one expected.
        """
        header, arrays = storage.read(path, cls.kind, FORMAT)
        own_basis = _basis(path, header["basis"], basis)
        groups = [
            Group(arrays[f"neighbours_{k}"], PolynomialFamily(arrays[f"exponents_{k}"]), arrays.get(f"ties_{k}"))
            for k in range(sum(name.startswith("neighbours_") for name in arrays))
        ]
        coupling = Coupling(build=Tables(own_basis, groups), **header["coupling"])
        options = {name: header[name] for name in ("polynomials", "ridge", "target", "value_range", "bounded")}
        model = cls(own_basis, coupling, device=device, **options)
        model._start(header["noise"] and SampledNoise(**header["noise"]))
        model.data = header["data"]
        parts = {"": model._fitted(), **({PREFIX: model.held_out} if model.held_out else {})}
        for (prefix, sums), (count, seen) in zip(parts.items(), header["counts"], strict=True):
            named = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
            sums.restore(named, count, seen, path)
        return model

    def _start(self, noise: SampledNoise | None) -> None:
        """Begin a fit."""
        if noise is None and not self.basis.orthonormal:
            raise ValueError(
                f"coefficient noise is correlated in {self.basis!r}, and the noise can be integrated out only where it "
                "is independent; expected fit(images, noise=SampledNoise(...)), or a WaveletBasis"
            )
        if noise is not None:
            check_kind("noise", noise, SampledNoise, "SampledNoise([1.0])")
        try:
            moments = self._new_moments(noise)
            self.held_out = moments.empty() if self.ridge == "auto" else None
        except RuntimeError as error:  # torch's, where a limit is set for this process
            raise MemoryError(f"no room for the sums of {self!r}: {error}") from error
        self.moments, self.data = moments, 0

    def _add(self, images: torch.Tensor) -> Self:
        """Sum over images that were checked."""
        moments = self._fitted()
        for batch in images.split(batch_size(self.basis.dim)):
            coefficients = self.basis.analyze(batch.to(self.device).double().contiguous())
            checksums = image_checksums(batch)
            if self.held_out is None:
                moments.update(coefficients)
            else:
                held = torch.from_numpy(checksums % HELD_OUT == 0)
                moments.update(coefficients, ~held)
                self.held_out.update(coefficients, held)
            self.data = (self.data + sum(checksums.tolist())) % 2**64
        self._solved.clear()
        self._ridges.clear()
        self._told = False
        return self

    def _fitted(self) -> Sums[E]:
        if self.moments is None:
            raise RuntimeError(f"{self!r} is not fitted; expected fit(images) or load(path) first")
        return self.moments

    def _unsolved_copy(self) -> Self:
        """The same estimator without a fit."""
        other = copy.copy(self)
        other.moments = other.held_out = None
        other.data, other._solved, other._ridges, other._told = self.data, {}, {}, False
        return other

    def _everything(self) -> Sums[E]:
        """Sums over all images, those included that are held out to choose the ridge."""
        moments = self._fitted()
        return moments if self.held_out is None else moments.plus(self.held_out)


def _basis(path: str | Path, stored: dict[str, Any], expected: Basis | None) -> Basis:
    """The basis that a file names: the one expected, if it is that."""
    given = expected and json.loads(json.dumps({"kind": type(expected).__name__, **expected.options}))
    if expected is not None and given == stored:
        return expected
    kind = stored["kind"]
    own = make_basis(**stored) if kind in KINDS else None
    if own is None or expected is not None:
        wanted = f"{expected!r}" if expected is not None else f"load(path, basis=...), for there is no {kind} here"
        raise ValueError(f"{path} is of {own or stored!r}; expected {wanted}")
    return own
