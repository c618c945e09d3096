"""The estimators: each wavelet coefficient from its own features (eq. 15-16 of the paper), or all from all (eq. 23)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import psutil
import torch

from .couplings import Group, band_tied, independent, local_coupled
from .estimator import Estimator, SingularGram
from .joint import ImageFeatures, JointMoments, solve_in_place
from .moments import IMAGES, Equations, Moments, exponent_powers, over_features
from .noise import SampledNoise

SMALLER = [local_coupled(3, 1), band_tied(3), local_coupled(2, 1), band_tied(2), independent(3), independent(2)]
KEPT = 8  # noise levels whose joint solution, P x d, is remembered


class Solution(NamedTuple):
    """Parameters in coordinates of unit noisy variance, with the scale of the coordinates."""

    scaled: torch.Tensor
    spread: torch.Tensor


class WaveletScore(Estimator):
    """Analytic wavelet score: one small linear system for each coefficient and noise level.

    Parameters
    ----------
    basis : WaveletBasis or WaveletFrame
        In a frame the noise of the coefficients is correlated, and only fits on sampled noise are offered.
    coupling : Coupling
        Which coefficients each coefficient listens to, for example `independent(degree=3)`.
    polynomials : str
        "monomial", or "hermite": products of He_e(y / s), with s the noisy standard deviation of a coefficient.
    ridge : float >= 0 or "auto"
        gamma in (Sigma + gamma 1) a = b. Coordinates are first divided by their noisy standard deviation, so gamma
        has no unit. "auto" holds every tenth image out and takes, at each sigma, the power of ten from 1e-12 to 100
        that serves those best, then fits all images with it; `chosen_ridge` tells which.
    target : str
        "denoise" fits the clean coefficient, b = E[phi y_0]; "score" fits its score by Stein's identity,
        b = -E[d phi / d y] (eq. 15). They give the same denoiser at ridge 0; a large ridge draws the first to the
        black image and the second to the noisy one.
    value_range : (float, float) or None
        Interval that images to be fitted must lie in; None lifts the check.
    device : str
        "cpu", or "cuda" for sums and predictions on a GPU.

    Attributes
    ----------
    groups : list of Group
        What the coupling lays over the basis; `coefficients` and `gram` follow its order.
    moments : Moments or None
        The sums behind the fit.

    Raises
    ------
    ValueError
        If the polynomials, the ridge, the target or the device are none of those named.

    Examples
    --------
    >>> import wavescore_lite as ws
    >>> images = ws.load_images("strokes", size=8, limit=200)
    >>> model = WaveletScore(ws.WaveletBasis(8), ws.independent(degree=3)).fit(images)
    >>> noisy = images[:5] + 2 * torch.randn(5, 8, 8)
    >>> model.denoise(noisy, sigma=2.0).shape
    torch.Size([5, 8, 8])
    """

    kind = "WaveletScore"
    kept_solutions = 200

    @property
    def num_parameters(self) -> int:
        """Parameters at one noise level."""
        return sum(group.num_parameters for group in self.groups)

    def coefficients(self, sigma: float) -> list[torch.Tensor]:
        """Solution a = (Sigma + gamma)^-1 b at noise level sigma.

        Returns
        -------
        list of tensor [m, F], float64
            For each group: sum_f a[i, f] phi_f is the clean coefficient (target "denoise") or the score coefficient
            (target "score") of the group's i-th target. Row f of `group.family.exponents` is feature f: a monomial of
            the coefficients themselves, or a product of Hermite polynomials He_e(y / s).
        """
        return [
            group.spread_out(scaled if self.polynomials == "hermite" else scaled / _unit(group, spread))
            for group, (scaled, spread) in zip(self.groups, self._solution(sigma), strict=True)
        ]

    def gram(self, sigma: float) -> list[torch.Tensor]:
        """Gram Sigma = E[phi phi^T] of the features of `coefficients`, for each group a tensor [m, F, F]."""
        equations = self._everything().equations(sigma, self.polynomials)
        return [
            group.spread_out(_scaled(e, group) if self.polynomials == "hermite" else e.gram)
            for group, e in zip(self.groups, equations, strict=True)
        ]

    def conditioning(self, sigma: float) -> dict[str, torch.Tensor]:
        """Condition number of Sigma for each coefficient, without a ridge.

        Returns
        -------
        dict of tensor [d]
            "raw" monomials, "scaled" monomials of y / s, and "hermite" polynomials of y / s. Infinite where rounding
            leaves no positive smallest eigenvalue.
        """
        moments = self._everything()
        out = {name: torch.empty(self.basis.dim, dtype=torch.float64) for name in ("raw", "scaled", "hermite")}
        for polynomials in ("monomial", "hermite"):
            for group, e in zip(self.groups, moments.equations(sigma, polynomials), strict=True):
                targets = torch.from_numpy(group.targets)
                scaled = _condition(_scaled(e, group))
                out["scaled" if polynomials == "monomial" else "hermite"][targets] = group.spread_out(scaled)
                if polynomials == "monomial":
                    out["raw"][targets] = group.spread_out(_condition(e.gram))
        return out

    def _new_moments(self, noise: SampledNoise | None) -> Moments:
        return Moments(self.groups, self.basis, noise, self.device)

    def _solve(self, moments: Moments, sigma: float, ridge: float) -> list[Solution]:
        """(Sigma + gamma 1) a = b in coordinates of unit noisy variance (eq. 16), for each group."""
        out = []
        for group, equations in zip(self.groups, moments.equations(sigma, self.polynomials), strict=True):
            moments.check_samples(len(group.family.exponents))
            gram = _scaled(equations, group)
            gram.diagonal(dim1=1, dim2=2).add_(ridge)
            right = (equations.image if self.target == "denoise" else equations.score) / _unit(group, equations.spread)
            try:
                out.append(Solution(torch.linalg.solve(gram, right), equations.spread))
            except torch.linalg.LinAlgError as error:
                raise SingularGram(self, ridge) from error
        return out

    def _risk(self, solution: list[Solution], moments: Moments, sigma: float) -> float:
        total = 0.0
        for group, (scaled, spread), e in zip(
            self.groups, solution, moments.equations(sigma, closed=True), strict=True
        ):
            weights = self._closed(group, scaled) / exponent_powers(spread, group.family.closed)
            own = group.family.linear[0]
            if self.target == "score":
                weights *= sigma**2
                weights[:, own] += 1
            power = e.gram[:, own, own] - (0 if moments.noise else sigma**2)
            error = power + (weights * ((e.gram @ weights[..., None])[..., 0] - 2 * e.image)).sum(dim=1)
            total += group.spread_out(error).sum().item()
        return total

    def _closed(self, group: Group, scaled: torch.Tensor) -> torch.Tensor:
        """Parameters as weights of the closed monomials of scaled coordinates: [K, F] -> [K, C]."""
        family = group.family
        if self.polynomials == "hermite":
            return scaled @ family.heat(-torch.ones(len(family.linear), dtype=torch.float64))[family.selected]
        weights = scaled.new_zeros(len(scaled), len(family.closed))
        weights[:, torch.from_numpy(family.selected)] = scaled
        return weights

    def _predict(self, solution: list[Solution], y: torch.Tensor) -> torch.Tensor:
        predicted = torch.empty_like(y)
        for group, (scaled, spread) in zip(self.groups, solution, strict=True):
            weights = group.spread_out(self._closed(group, scaled)).to(y)
            values = y.new_empty(len(weights), y.shape[1])

            def use(rows: slice, images: slice, features: torch.Tensor, values=values, weights=weights) -> None:
                values[rows, images] = (weights[rows, None] @ features)[:, 0]

            over_features(group, y, use, group.spread_out(spread).to(y))
            predicted[torch.from_numpy(group.targets).to(y.device)] = values
        return predicted


class JointScore(Estimator):
    """Analytic wavelet score of one regression: every coefficient from all features of the image (eq. 23).

    Parameters
    ----------
    basis, coupling, polynomials, ridge, target, value_range, device
        As for `WaveletScore`. The features are the distinct monomials of all targets, each unordered product once,
        closed under division. Couplings that share parameters are refused: this fit has one set for each target.

    Attributes
    ----------
    features : ImageFeatures
        The P features; `coefficients` and `gram` follow their order.

    Raises
    ------
    ValueError
        As for `WaveletScore`.

    Notes
    -----
    Predicting coefficients and synthesising them is predicting pixels: see eq. 24, the lemma. P x P systems are large:
    `fit` raises a MemoryError, before it starts, if they would not fit into memory.

    Examples
    --------
    >>> import wavescore_lite as ws
    >>> images = ws.load_images("strokes", size=8, limit=500)
    >>> model = JointScore(ws.WaveletBasis(8), ws.independent(degree=2)).fit(images)
    >>> len(model.features), model.num_parameters
    (129, 8256)
    >>> model.denoise(images[:5] + torch.randn(5, 8, 8), sigma=1.0).shape
    torch.Size([5, 8, 8])
    """

    kind = "JointScore"
    kept_solutions = KEPT

    def _prepare(self) -> None:
        if any(group.ties is not None for group in self.groups):
            raise ValueError(
                f"{self.coupling!r} shares parameters, which a joint fit cannot; expected one without shared=True"
            )
        self.features = ImageFeatures(self.groups, self.basis.dim)

    @property
    def num_parameters(self) -> int:
        """Parameters at one noise level, P d."""
        return len(self.features) * self.basis.dim

    def coefficients(self, sigma: float) -> torch.Tensor:
        """Solution A = (Sigma + gamma)^-1 B at noise level sigma, tensor [P, d], float64.

        Column i holds the parameters of coefficient i (target "denoise") or of its score (target "score"), for
        monomials of the coefficients themselves, or products of Hermite polynomials He_e(y / s).
        """
        scaled, spread = self._solution(sigma)
        return scaled if self.polynomials == "hermite" else scaled / self._unit(spread)[:, None]

    def gram(self, sigma: float) -> torch.Tensor:
        """Gram Sigma = E[phi phi^T] of the features of `coefficients`, tensor [P, P]."""
        self._fitted()
        equations = self._everything().equations(sigma, self.polynomials)
        return self._scale(equations).gram if self.polynomials == "hermite" else equations.gram

    def conditioning(self, sigma: float) -> dict[str, float]:
        """Condition number of Sigma without a ridge, as in `WaveletScore.conditioning`; three eigenproblems, P x P."""
        self._fitted()
        monomial = self._everything().equations(sigma)
        raw = _condition(monomial.gram).item()
        scaled = _condition(self._scale(monomial).gram).item()
        hermite = _condition(self._scale(self._everything().equations(sigma, "hermite")).gram).item()
        return {"raw": raw, "scaled": scaled, "hermite": hermite}

    def memory(self, noise: SampledNoise | None = None) -> int:
        """Bytes that a fit and one solution take at most, besides the images."""
        return _joint_bytes(len(self.features), self.basis.dim, noise, self.ridge == "auto")

    def _new_moments(self, noise: SampledNoise | None) -> JointMoments:
        needed, available = self.memory(noise), _free_bytes(self.device)
        if needed > available:
            raise MemoryError(
                f"{self.coupling!r} in {self.basis!r} has P = {len(self.features):,} features; its joint fit takes "
                f"{needed / 2**30:.1f} GiB, and {available / 2**30:.1f} GiB are free: "
                f"{self._what_fits(noise, available)}"
            )
        return JointMoments(self.features, self.basis, noise, self.device)

    def _what_fits(self, noise: SampledNoise | None, available: int) -> str:
        for coupling in SMALLER:
            count = len(ImageFeatures(coupling.groups(self.basis), self.basis.dim))
            if _joint_bytes(count, self.basis.dim, noise, self.ridge == "auto") <= available:
                return f"{coupling!r} (P = {count:,}) would fit"
        return "expected a smaller image, or WaveletScore"

    def _unit(self, spread: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(self.features.unit(spread.numpy()))

    def _scale(self, equations: Equations) -> Equations:
        """The equations in coordinates of unit noisy variance; the Gram in its own memory."""
        unit = self._unit(equations.spread)
        gram = equations.gram.div_(unit).div_(unit[:, None])
        return Equations(gram, equations.image / unit[:, None], equations.score / unit[:, None], equations.spread)

    def _solve(self, moments: JointMoments, sigma: float, ridge: float) -> Solution:
        moments.check_samples(len(self.features))
        equations = self._scale(moments.equations(sigma, self.polynomials))
        equations.gram.diagonal().add_(ridge)
        right = equations.image if self.target == "denoise" else equations.score
        try:
            scaled = solve_in_place(equations.gram.numpy(), right.numpy())
        except np.linalg.LinAlgError as error:
            raise SingularGram(self, ridge) from error
        return Solution(torch.from_numpy(np.ascontiguousarray(scaled)), equations.spread)

    def _risk(self, solution: Solution, moments: JointMoments, sigma: float) -> float:
        weights = self._closed(solution.scaled) / self._unit(solution.spread)[:, None]
        equations, own = moments.equations(sigma), torch.arange(self.basis.dim)
        if self.target == "score":
            weights = weights * sigma**2
            weights[1 + own, own] += 1
        power = equations.gram[1 + own, 1 + own].sum() - (0 if moments.noise else sigma**2 * self.basis.dim)
        return (power + (weights * (equations.gram @ weights - 2 * equations.image)).sum()).item()

    def _closed(self, scaled: torch.Tensor) -> torch.Tensor:
        """Parameters as weights of monomials of scaled coordinates."""
        if self.polynomials == "monomial":
            return scaled
        return torch.from_numpy(self.features.heat(-np.ones(self.features.dim)).T @ scaled.numpy())

    def _predict(self, solution: Solution, y: torch.Tensor) -> torch.Tensor:
        weights = self._closed(solution.scaled).T.contiguous().to(y)
        scaled = y / solution.spread.to(y)[:, None]
        blocks = [weights @ self.features.evaluate(block) for block in scaled.split(IMAGES, dim=1)]
        return torch.cat(blocks, dim=1)


def _unit(group: Group, spread: torch.Tensor) -> torch.Tensor:
    return exponent_powers(spread, group.family.exponents)


def _scaled(equations: Equations, group: Group) -> torch.Tensor:
    """The Gram in coordinates of unit noisy variance, [K, F, F]."""
    unit = _unit(group, equations.spread)
    return equations.gram / (unit[:, :, None] * unit[:, None, :])


def _condition(gram: torch.Tensor) -> torch.Tensor:
    """Ratio of the extreme eigenvalues of symmetric matrices [..., F, F]."""
    eigenvalues = torch.linalg.eigvalsh(gram)
    smallest, largest = eigenvalues[..., 0], eigenvalues[..., -1]
    return torch.where(smallest > 0, largest / smallest, torch.inf)


def _free_bytes(device: str) -> int:
    return torch.cuda.mem_get_info()[0] if device == "cuda" else psutil.virtual_memory().available


def _joint_bytes(features: int, dim: int, noise: SampledNoise | None, held_out: bool) -> int:
    """Sums, one Gram to be solved in place, right-hand sides and solutions, and a block of features."""
    levels = 1 if noise is None else len(noise.sigmas)
    sums = levels * (features**2 + (features * dim if noise else 0)) * (3 if held_out else 1)
    return 8 * (sums + features**2 + (5 + KEPT) * features * dim + 2 * features * IMAGES)
