"""The estimator: each wavelet coefficient of the score from its own features (eq. 15-16 of the paper)."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from . import storage
from .checks import check_choice, check_images, check_ridge, check_sigma
from .couplings import Coupling, Group
from .moments import Equations, Moments, SampledMoments, exponent_powers, over_features
from .noise import SampledNoise
from .polynomials import PolynomialFamily
from .wavelets import WaveletBasis

KIND = "WaveletScore"
TARGETS = ("denoise", "score")
POLYNOMIALS = ("monomial",)
ANALYSIS_BATCH = 8192  # images analysed at a time, which bounds the memory of a fit


class WaveletScore:
    """Analytic wavelet score: one small linear system for each coefficient and noise level.

    Parameters
    ----------
    basis : WaveletBasis
    coupling : Coupling
        Which coefficients each coefficient listens to, for example `independent(degree=3)`.
    polynomials : str
        "monomial".
    ridge : float >= 0
        gamma in (Sigma + gamma 1) a = b. Coordinates are first divided by their noisy standard deviation, so gamma
        has no unit.
    target : str
        "denoise" fits the clean coefficient, b = E[phi y_0]; "score" fits its score by Stein's identity,
        b = -E[d phi / d y] (eq. 15). They give the same denoiser at ridge 0; a large ridge draws the first to the
        black image and the second to the noisy one.
    value_range : (float, float) or None
        Interval that images to be fitted must lie in; None lifts the check.

    Attributes
    ----------
    groups : list of Group
        What the coupling lays over the basis; `coefficients` and `gram` follow its order.
    moments : Moments or SampledMoments or None
        The sums behind the fit.

    Raises
    ------
    ValueError
        If the polynomials, the ridge or the target are none of those named.

    Examples
    --------
    >>> import wavescore_lite as ws
    >>> images = ws.load_images("strokes", size=8, limit=200)
    >>> model = WaveletScore(ws.WaveletBasis(8), ws.independent(degree=3)).fit(images)
    >>> noisy = images[:5] + 2 * torch.randn(5, 8, 8)
    >>> model.denoise(noisy, sigma=2.0).shape
    torch.Size([5, 8, 8])
    """

    def __init__(
        self,
        basis: WaveletBasis,
        coupling: Coupling,
        polynomials: str = "monomial",
        ridge: float = 1e-6,
        target: str = "denoise",
        value_range: tuple[float, float] | None = (0.0, 1.0),
    ) -> None:
        self.basis, self.coupling = basis, coupling
        self.polynomials = check_choice("polynomials", polynomials, POLYNOMIALS)
        self.ridge = check_ridge(ridge)
        self.target = check_choice("target", target, TARGETS)
        self.value_range = value_range
        self.groups = coupling.groups(basis)
        self.moments: Moments | SampledMoments | None = None
        self._solved: dict[float, list[tuple[torch.Tensor, torch.Tensor]]] = {}

    def __repr__(self) -> str:
        return (
            f"WaveletScore({self.basis!r}, {self.coupling!r}, polynomials={self.polynomials!r}, "
            f"ridge={self.ridge:g}, target={self.target!r})"
        )

    @property
    def num_parameters(self) -> int:
        """Parameters at one noise level."""
        return sum(len(group.targets) * len(group.family.exponents) for group in self.groups)

    def fit(self, images: torch.Tensor, noise: SampledNoise | None = None) -> WaveletScore:
        """Fit on clean images, forgetting any fit before.

        Parameters
        ----------
        images : tensor [n, size, size], float32 or float64, clean
        noise : SampledNoise, optional
            Fit on noisy copies at given sigmas. By default the noise is integrated out, and every sigma is fitted.

        Returns
        -------
        WaveletScore
            The model itself.

        Raises
        ------
        TypeError, ValueError
            For images of another shape or dtype, out of range, not finite, or none at all.
        """
        images = check_images(images, self.basis.size, self.value_range)
        self.moments = Moments(self.groups) if noise is None else SampledMoments(self.groups, self.basis, noise)
        return self._add(images)

    def partial_fit(self, images: torch.Tensor) -> WaveletScore:
        """Add clean images to the fit; any split into batches gives the same model.

        A model that is not fitted yet starts with the noise integrated out; for sampled noise `fit` comes first.
        """
        images = check_images(images, self.basis.size, self.value_range)
        if self.moments is None:
            self.moments = Moments(self.groups)
        return self._add(images)

    def merge(self, other: WaveletScore) -> WaveletScore:
        """The fit of both models' images together, as a new model.

        Raises
        ------
        ValueError
            If the models differ in basis, coupling, ridge or target, one is not fitted, or one is fitted on
            sampled noise and the other is not.
        """
        if repr(self) != repr(other):
            raise ValueError(f"cannot merge {self!r} with {other!r}; expected two models made alike")
        ours, theirs = self._fitted(), other._fitted()
        if type(ours) is not type(theirs):
            raise ValueError("cannot merge a fit on sampled noise with one that integrates the noise out")
        merged = self._unfitted_copy()
        merged.moments = ours.merge(theirs)
        return merged

    def coefficients(self, sigma: float) -> list[torch.Tensor]:
        """Solution a = (Sigma + gamma)^-1 b at noise level sigma, in raw monomials.

        Returns
        -------
        list of tensor [m, F], float64
            For each group: sum_f a[i, f] phi_f is the clean coefficient (target "denoise") or the score coefficient
            (target "score") of the group's i-th target. Row f of `group.family.exponents` is feature f.
        """
        return [
            hat / exponent_powers(spread, group.family.exponents)
            for group, (hat, spread) in zip(self.groups, self._solution(sigma), strict=True)
        ]

    def gram(self, sigma: float) -> list[torch.Tensor]:
        """Gram Sigma = E[phi phi^T] at noise level sigma, raw monomials, for each group a tensor [m, F, F]."""
        return [equations.gram for equations in self._fitted().equations(sigma)]

    def denoise(self, noisy: torch.Tensor, sigma: float) -> torch.Tensor:
        """Estimate of E[x_0 | x_0 + sigma z = noisy].

        Parameters
        ----------
        noisy : tensor [n, size, size], float32 or float64
        sigma : float > 0
            Standard deviation of the noise in a pixel.

        Returns
        -------
        tensor [n, size, size] of the same dtype, not clipped

        Raises
        ------
        RuntimeError
            If the model is not fitted.
        TypeError, ValueError
            For other images, or a sigma that is not > 0 or was not fitted.
        """
        noisy, solution = check_images(noisy, self.basis.size), self._solution(sigma)
        y = self.basis.analyze(noisy).T.contiguous()
        predicted = torch.empty_like(y)
        for group, (hat, spread) in zip(self.groups, solution, strict=True):
            predicted[torch.from_numpy(group.targets)] = _predict(group, hat.to(y), spread.to(y), y)
        if self.target == "score":
            predicted = y + float(sigma) ** 2 * predicted
        return self.basis.synthesize(predicted.T)

    def score(self, noisy: torch.Tensor, sigma: float) -> torch.Tensor:
        """Score (denoise - noisy) / sigma^2 at the noisy images, same shape; see `denoise`."""
        noisy = check_images(noisy, self.basis.size)
        return (self.denoise(noisy, sigma) - noisy) / float(sigma) ** 2

    def save(self, path: str | Path) -> None:
        """Write the model to an npz file, all of it or nothing; `WaveletScore.load` reads it."""
        moments = self._fitted()
        header = {
            "kind": KIND,
            "size": self.basis.size,
            "wavelet": self.basis.wavelet,
            "level": self.basis.level,
            "coupling": self.coupling.name,
            "polynomials": self.polynomials,
            "ridge": self.ridge,
            "target": self.target,
            "value_range": self.value_range,
            "noise": asdict(moments.noise) if isinstance(moments, SampledMoments) else None,
            "count": moments.count,
        }
        arrays = {}
        for k, group in enumerate(self.groups):
            arrays |= {f"neighbours_{k}": group.neighbours, f"exponents_{k}": group.family.exponents}
            arrays[f"sums_{k}"] = moments.sums[k].numpy()
            if isinstance(moments, SampledMoments):
                arrays[f"image_sums_{k}"] = moments.image_sums[k].numpy()
        storage.write(path, header, arrays)

    @classmethod
    def load(cls, path: str | Path, basis: WaveletBasis | None = None) -> WaveletScore:
        """Read a model that `save` wrote.

        Parameters
        ----------
        path : path
        basis : WaveletBasis, optional
            The basis that the model is expected to be in.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If the file is cut short, damaged, of another version, or of another basis than the one expected.
        """
        header, arrays = storage.read(path, KIND)
        own_basis = WaveletBasis(header["size"], header["wavelet"], header["level"])
        if basis is not None and basis != own_basis:
            raise ValueError(f"{path} is of {own_basis!r}; expected {basis!r}")
        groups = [
            Group(arrays[f"neighbours_{k}"], PolynomialFamily(arrays[f"exponents_{k}"]))
            for k in range(sum(name.startswith("neighbours_") for name in arrays))
        ]
        value_range = header["value_range"] and tuple(header["value_range"])
        options = {name: header[name] for name in ("polynomials", "ridge", "target")}
        model = cls(own_basis, Coupling(header["coupling"], lambda _: groups), value_range=value_range, **options)
        if header["noise"] is None:
            model.moments = Moments(groups)
        else:
            model.moments = SampledMoments(groups, own_basis, SampledNoise(**header["noise"]))
            _fill(model.moments.image_sums, "image_sums", arrays, path)
        _fill(model.moments.sums, "sums", arrays, path)
        model.moments.count = header["count"]
        return model

    def _add(self, images: torch.Tensor) -> WaveletScore:
        """Sum over images that were checked."""
        for batch in images.split(ANALYSIS_BATCH):
            self.moments.update(self.basis.analyze(batch.double()))
        self._solved.clear()
        return self

    def _fitted(self) -> Moments | SampledMoments:
        if self.moments is None:
            raise RuntimeError(f"{self!r} is not fitted; expected fit(images) or load(path) first")
        return self.moments

    def _unfitted_copy(self) -> WaveletScore:
        return WaveletScore(self.basis, self.coupling, self.polynomials, self.ridge, self.target, self.value_range)

    def _solution(self, sigma: float) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """For each group: solution [m, F] in scaled monomials, and the scale [m, Q] of the coordinates."""
        moments, sigma = self._fitted(), check_sigma(sigma)
        if sigma not in self._solved:
            self._solved[sigma] = [
                (self._solve(equations, group), equations.spread)
                for equations, group in zip(moments.equations(sigma), self.groups, strict=True)
            ]
        return self._solved[sigma]

    def _solve(self, equations: Equations, group: Group) -> torch.Tensor:
        """(Sigma + gamma 1) a = b in coordinates of unit noisy variance (eq. 16)."""
        unit = exponent_powers(equations.spread, group.family.exponents)
        gram = equations.gram / (unit[:, :, None] * unit[:, None, :])
        gram.diagonal(dim1=1, dim2=2).add_(self.ridge)
        right = (equations.image if self.target == "denoise" else equations.score) / unit
        try:
            return torch.linalg.solve(gram, right)
        except torch.linalg.LinAlgError as error:
            raise ValueError(
                f"the Gram of {self.coupling!r} is singular at ridge {self.ridge:g}; expected a ridge > 0"
            ) from error


def _predict(group: Group, hat: torch.Tensor, spread: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """sum_f hat[i, f] phi_f of the scaled coordinates: coefficients [d, n] -> [m, n]."""
    closed = hat.new_zeros(len(hat), 1, len(group.family.closed))
    closed[:, 0, torch.from_numpy(group.family.selected)] = hat
    predicted = y.new_empty(len(hat), y.shape[1])

    def use(rows: slice, images: slice, features: torch.Tensor) -> None:
        predicted[rows, images] = (closed[rows] @ features)[:, 0]

    over_features(group, y, use, spread)
    return predicted


def _fill(sums: list[torch.Tensor], name: str, arrays: dict[str, np.ndarray], path: str | Path) -> None:
    for k, total in enumerate(sums):
        stored = arrays.get(f"{name}_{k}")
        if stored is None or stored.shape != tuple(total.shape):
            given = "nothing" if stored is None else f"shape {list(stored.shape)}"
            raise ValueError(f"{path} holds {given} for {name}_{k}; expected shape {list(total.shape)}")
        total.copy_(torch.from_numpy(stored))
