"""The estimator of one coefficient at a time: each wavelet coefficient from its own features (eq. 15-16)."""

from __future__ import annotations

import numpy as np
import torch

from .equations import Equations, Solution, condition, exponent_powers
from .estimator import Estimator, SingularGram
from .groups import Group
from .moments import Moments, over_features
from .noise import SampledNoise
from .sums import batch_bytes
from .support.checks import differentiated
from .support.memory import check_free


class WaveletScore(Estimator[list[Equations], list[Solution]]):
    """Analytic wavelet score: one small linear system for each coefficient and noise level.

    Parameters
    ----------
    basis : Basis
        Where the fit is done, for example `WaveletBasis(32)`. In a frame the noise of the coefficients is correlated,
        and only fits on sampled noise are offered.
    coupling : Coupling
        Which coefficients each coefficient listens to, for example `independent(degree=3)`.
    polynomials : str
        "monomial", or "hermite": products of He_e(y / s), with s the noisy standard deviation of a coefficient.
    ridge : float >= 0 or "auto"
        gamma in (Sigma + gamma 1) a = b. Coordinates are first divided by their noisy standard deviation, so gamma
        has no unit. "auto" holds one image of ten out and takes, at each sigma, the power of ten from 1e-12 to 100
        that serves those best, then fits all images with it; `chosen_ridge` tells which. An image's checksum says
        whether it is held out, so parts that are fitted apart and merged choose as one fit does.
    target : str
        "denoise" fits the clean coefficient, b = E[phi y_0]; "score" fits its score by Stein's identity,
        b = -E[d phi / d y] (eq. 15). They give the same denoiser at ridge 0; a large ridge draws the first to the
        black image and the second to the noisy one.
    value_range : (float, float) or None
        Interval that images to be fitted must lie in; None lifts the check.
    device : str
        "cpu", or "cuda" for sums and predictions on a GPU.
    bounded : bool
        Whether the estimate of a coefficient is kept within its range over the fitted images, `bounds`, where every
        posterior mean lies: a projection that never raises the error of an image in that range, and without which
        samplers may run away. False gives the bare polynomial of the paper.

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

    Notes
    -----
    Features are powers of the coefficients themselves, as in the paper, not of their distances from a mean. Far from
    zero, at r standard deviations, such powers are nearly dependent: digits are lost in proportion to r^(2D), and a
    ridge acts on the distances like one larger by as much. Images in [0, 1] stay near; where coefficients lie beyond
    10 standard deviations, or the system is ill-conditioned, a solution says so once, with a `LinAlgWarning`. Centring
    is left to you, as it gives another model: (y_i - m_i)(y_k - m_k) holds y_k alone, a feature that products with the
    target do not have, and a ridge then draws estimates to the mean and no longer to 0. To centre, fit images less
    their mean, with ``value_range=None``, and add it again.

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
                scaled = condition(_scaled(e, group))
                out["scaled" if polynomials == "monomial" else "hermite"][targets] = group.spread_out(scaled)
                if polynomials == "monomial":
                    out["raw"][targets] = group.spread_out(condition(e.gram))
        return out

    def memory(self, noise: SampledNoise | None = None) -> int:
        """Bytes that a fit and one solution take at most, besides the images.

        What takes more asks for itself, and raises a MemoryError before it starts: `merge`, `risk` over other images,
        and `conditioning` of a joint fit.

        Parameters
        ----------
        noise : SampledNoise, optional
            As for `fit`.

        Examples
        --------
        >>> import wavescore_lite as ws
        >>> model = WaveletScore(ws.WaveletBasis(64), ws.local_coupled(degree=3, radius=1))
        >>> round(model.memory() / 2**30, 1)  # GiB
        0.4
        """
        levels, held_out = 1 if noise is None else len(noise.sigmas), self.ridge == "auto"
        sums = closed_grams = grams = largest = 0
        for group in self.groups:
            closed, features = len(group.family.closed), len(group.family.exponents)
            sets = group.num_parameters // features
            sums += levels * len(group.targets) * (closed**2 + (closed if noise else 0))
            closed_grams += sets * closed**2
            grams += sets * features**2
            largest = max(largest, sets * (3 * closed**2 + 2 * features**2))  # while the noise is integrated out
        twice = 1 + held_out  # sums over the images held out, and a risk over them, of all closed monomials
        return 8 * ((2 * twice - 1) * sums + twice * closed_grams + grams + largest) + batch_bytes(self.basis.dim)

    def _new_moments(self, noise: SampledNoise | None) -> Moments:
        check_free(self.memory(noise), f"a fit of {self!r}", self.device)
        return Moments(self.groups, self.basis, noise, self.device)

    def _solve(self, equations: list[Equations], ridge: float, overwrite: bool = False) -> tuple[list[Solution], float]:
        """(Sigma + gamma 1) a = b in coordinates of unit noisy variance (eq. 16), for each group."""
        out, conditions = [], []
        for group, e in zip(self.groups, equations, strict=True):
            e.check_solvable()
            gram = _scaled(e, group)
            gram.diagonal(dim1=1, dim2=2).add_(ridge)
            try:
                scaled = torch.linalg.solve(gram, e.right(self.target) / _unit(group, e.spread))
            except torch.linalg.LinAlgError as error:
                raise SingularGram(self, ridge) from error
            out.append(Solution(scaled, e.spread))
            conditions.append(torch.linalg.cond(gram, 1).max().item())
        return out, max(conditions)

    def _spread(self, solution: list[Solution]) -> torch.Tensor:
        spreads = torch.empty(self.basis.dim, dtype=torch.float64)
        for group, (_, spread) in zip(self.groups, solution, strict=True):
            spreads[torch.from_numpy(group.targets)] = group.spread_out(spread)[:, 0]
        return spreads

    def _risk(self, solution: list[Solution], equations: list[Equations]) -> float:
        total = 0.0
        for group, (scaled, spread), e in zip(self.groups, solution, equations, strict=True):
            weights = self._closed(group, scaled) / exponent_powers(spread, group.family.closed)
            own = group.family.linear[0]
            if self.target == "score":
                weights *= e.sigma**2
                weights[:, own] += 1
            power = e.gram[:, own, own] - e.variance
            error = power + (weights * ((e.gram @ weights[..., None])[..., 0] - 2 * e.denoise)).sum(dim=1)
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
        if differentiated(y):
            return self._predict_with_graph(solution, y)
        predicted = torch.empty_like(y)
        for group, (scaled, spread) in zip(self.groups, solution, strict=True):
            weights = group.spread_out(self._closed(group, scaled)).to(y)
            values = y.new_empty(len(weights), y.shape[1])

            def use(
                rows: slice,
                images: slice,
                features: torch.Tensor,
                values: torch.Tensor = values,
                weights: torch.Tensor = weights,
            ) -> None:
                values[rows, images] = (weights[rows, None] @ features)[:, 0]

            over_features(group, y, use, group.spread_out(spread).to(y))
            predicted[torch.from_numpy(group.targets).to(y.device)] = values
        return predicted

    def _predict_with_graph(self, solution: list[Solution], y: torch.Tensor) -> torch.Tensor:
        """The same out of place, in one block, which derivatives pass through."""
        parts = []
        for group, (scaled, spread) in zip(self.groups, solution, strict=True):
            neighbours = torch.from_numpy(group.neighbours).to(y.device)
            coordinates = y[neighbours] / group.spread_out(spread).to(y)[..., None]
            features = torch.stack(group.family.monomials(coordinates.unbind(1)), dim=1)
            weights = group.spread_out(self._closed(group, scaled)).to(y)
            parts.append((weights[:, None] @ features)[:, 0])
        order = np.concatenate([group.targets for group in self.groups]).argsort()
        return torch.cat(parts)[torch.from_numpy(order).to(y.device)]


def _unit(group: Group, spread: torch.Tensor) -> torch.Tensor:
    return exponent_powers(spread, group.family.exponents)


def _scaled(equations: Equations, group: Group) -> torch.Tensor:
    """The Gram in coordinates of unit noisy variance, [K, F, F]."""
    unit = _unit(group, equations.spread)
    return equations.gram / (unit[:, :, None] * unit[:, None, :])
