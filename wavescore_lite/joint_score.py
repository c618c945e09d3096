"""The estimator of all coefficients at once, each from all features of the image: one regression (eq. 23)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from scipy.linalg import lapack

from .couplings import band_tied, independent, local_coupled
from .equations import Equations, Solution, condition
from .estimator import Estimator, SingularGram
from .fitting import TARGETS
from .joint import PAIRS, ImageFeatures, JointMoments, solve_in_place
from .moments import BATCH
from .noise import SampledNoise
from .sums import batch_bytes
from .support.memory import check_free

SMALLER = [local_coupled(3, 1), band_tied(3), local_coupled(2, 1), band_tied(2), independent(3), independent(2)]
KEPT = 8  # noise levels whose solution, P x d, is remembered


class JointScore(Estimator[Equations, Solution]):
    """Analytic wavelet score of one regression: every coefficient from all features of the image (eq. 23).

    Parameters
    ----------
    basis, coupling, polynomials, ridge, target, value_range, device, bounded
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
        equations = self._everything().equations(sigma, self.polynomials)
        return self._scale(equations).gram if self.polynomials == "hermite" else equations.gram

    def conditioning(self, sigma: float) -> dict[str, float]:
        """Condition number of Sigma without a ridge, as in `WaveletScore.conditioning`; three eigenproblems, P x P."""
        needed = 16 * len(self.features) ** 2 + _bytes_beside(self.features)
        check_free(needed, f"conditioning of {self!r}", self.device)
        moments = self._everything()
        found, monomial = {}, moments.equations(sigma)
        found["raw"] = condition(monomial.gram).item()
        found["scaled"] = condition(self._scale(monomial).gram).item()
        del monomial  # one Gram at a time, and one that the eigenvalues are found in
        found["hermite"] = condition(self._scale(moments.equations(sigma, "hermite")).gram).item()
        return found

    def memory(self, noise: SampledNoise | None = None) -> int:
        """Bytes that a fit and one solution take at most, besides the images: see `WaveletScore.memory`."""
        return _bytes(self.features, noise, self.ridge == "auto")

    def _new_moments(self, noise: SampledNoise | None) -> JointMoments:
        what = f"{self.coupling!r} in {self.basis!r} has P = {len(self.features):,} features; its joint fit"
        check_free(self.memory(noise), what, self.device, lambda free: self._what_fits(noise, free))
        return JointMoments(self.features, self.basis, noise, self.device)

    def _what_fits(self, noise: SampledNoise | None, free: int) -> str:
        for coupling in SMALLER:
            features = ImageFeatures(coupling.groups(self.basis), self.basis.dim)
            if _bytes(features, noise, self.ridge == "auto") <= free:
                return f"{coupling!r} (P = {len(features):,}) would fit"
        return "expected a smaller image, or WaveletScore"

    def _unit(self, spread: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(self.features.unit(spread.numpy()))

    def _scale(self, equations: Equations, overwrite: bool = True) -> Equations:
        """The equations in coordinates of unit noisy variance; the Gram in its own memory, if that may be."""
        unit = self._unit(equations.spread)
        gram = equations.gram if overwrite else equations.gram.clone()
        right = {name: getattr(equations, name) / unit[:, None] for name in TARGETS}
        return replace(equations, gram=gram.div_(unit).div_(unit[:, None]), **right)

    def _solve(self, equations: Equations, ridge: float, overwrite: bool = False) -> tuple[Solution, float]:
        equations.check_solvable()
        scaled = self._scale(equations, overwrite)
        scaled.gram.diagonal().add_(ridge)
        gram = scaled.gram.numpy()
        norm = lapack.dlange("1", gram.T)
        try:
            solution = solve_in_place(gram, scaled.right(self.target).numpy())
        except np.linalg.LinAlgError as error:
            raise SingularGram(self, ridge) from error
        reciprocal = lapack.dpocon(gram.T, norm, uplo="L")[0]  # of the factor, which stands below the diagonal
        condition = 1 / reciprocal if reciprocal else np.inf
        return Solution(torch.from_numpy(np.ascontiguousarray(solution)), equations.spread), condition

    def _spread(self, solution: Solution) -> torch.Tensor:
        return solution.spread

    def _risk(self, solution: Solution, equations: Equations) -> float:
        weights = self._closed(solution.scaled) / self._unit(solution.spread)[:, None]
        own = torch.arange(self.basis.dim)
        if self.target == "score":
            weights = weights * equations.sigma**2
            weights[1 + own, own] += 1
        power = equations.gram[1 + own, 1 + own].sum() - equations.variance * self.basis.dim
        return (power + (weights * (equations.gram @ weights - 2 * equations.denoise)).sum()).item()

    def _closed(self, scaled: torch.Tensor) -> torch.Tensor:
        """Parameters as weights of monomials of scaled coordinates."""
        if self.polynomials == "monomial":
            return scaled
        return torch.from_numpy(self.features.heat(-np.ones(self.features.dim)).T @ scaled.numpy())

    def _predict(self, solution: Solution, y: torch.Tensor) -> torch.Tensor:
        weights = self._closed(solution.scaled).T.contiguous().to(y)
        scaled = y / solution.spread.to(y)[:, None]
        blocks = [weights @ self.features.evaluate(block) for block in scaled.split(BATCH, dim=1)]
        return torch.cat(blocks, dim=1)


def _bytes(features: ImageFeatures, noise: SampledNoise | None, held_out: bool) -> int:
    """Sums, one Gram to be solved in place, and what stands beside it.

    Images held out have sums of their own; while ridges are tried, two Grams are kept and a third one is solved, and
    then all images have sums once more.
    """
    count, levels = len(features), 1 if noise is None else len(noise.sigmas)
    gram, sums = count**2, levels * (count**2 + (count * features.dim if noise else 0))
    most = max(2 * sums + 3 * gram, 3 * sums + gram) if held_out else sums + gram
    return 8 * most + _bytes_beside(features)


def _bytes_beside(features: ImageFeatures) -> int:
    """Right-hand sides and solutions, a block of features or some rows of a Gram, and what divides what."""
    divisions = int((2 ** (features.factors < features.dim).sum(axis=1) - 1).sum())
    index = (20 + 2 * features.factors.shape[1]) * divisions + 10 * PAIRS
    rows = (5 + KEPT) * features.dim + 2 * BATCH
    return 8 * (rows * len(features) + index) + batch_bytes(features.dim)
