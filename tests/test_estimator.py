"""What both fits share: Hermite features, shared parameters, ridges, exact risks, files."""

import multiprocessing
from functools import reduce
from math import factorial

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

import wavescore_lite as ws
from wavescore_lite import estimator
from wavescore_lite.fitting import FORMAT
from wavescore_lite.noise import FITTING, standard_normal
from wavescore_lite.support import storage
from wavescore_lite.support.storage import image_checksum, image_checksums

BASIS = ws.WaveletBasis(8, level=1)
FITS = [ws.WaveletScore, ws.JointScore]
fits = pytest.mark.parametrize("fit", FITS)
COUPLINGS = [
    ws.independent(3),
    ws.band_tied(3),
    ws.local_coupled(3, 1),
    ws.local_coupled(2, 1, pure_neighbours=True, parent=True),
]
SHARED = [
    ws.independent(3, shared=True),
    ws.band_tied(2, parent=True, shared=True),
    ws.local_coupled(2, 1, pure_neighbours=True, parent=True, shared=True),
]


@pytest.fixture(scope="module")
def images():
    return ws.load_images("strokes", size=8, limit=300).double()


@pytest.fixture(scope="module")
def fresh():
    return ws.load_images("strokes", size=8, split="test", limit=100).double()


def noise_nodes(order=6):
    nodes, weights = np.polynomial.hermite_e.hermegauss(order)
    return nodes, weights / weights.sum()


class TestHermite:
    @pytest.mark.parametrize("coupling", [*COUPLINGS, SHARED[1]], ids=repr)
    @pytest.mark.parametrize("sigma", [0.5, 2.0])
    def test_gram_by_quadrature(self, coupling, sigma, images):
        model = ws.WaveletScore(BASIS, coupling, polynomials="hermite").fit(images)
        clean = BASIS.analyze(images).numpy()
        nodes, weights = noise_nodes()
        for group, ours in zip(model.groups, model.gram(sigma), strict=True):
            table, ties = group.family.exponents, group.ties
            for t in (0, len(group.targets) // 2, len(group.targets) - 1):
                same = [t] if ties is None else np.flatnonzero(ties == ties[t])
                pooled = clean[:, group.neighbours[same]].reshape(-1, table.shape[1])
                spread = np.sqrt(pooled.var(axis=0) + sigma**2)
                scaled = (pooled[..., None] + sigma * nodes) / spread[:, None]
                he = [np.polynomial.hermite_e.hermeval(scaled, np.eye(5)[e]) for e in range(table.max() + 1)]
                expected = np.ones((len(pooled), len(table), len(table)))
                for q in range(table.shape[1]):
                    single = np.array([[(a[:, q] * b[:, q]) @ weights for b in he] for a in he])
                    expected *= np.moveaxis(single[table[:, None, q], table[None, :, q]], -1, 0)
                assert_allclose(ours[t], expected.mean(axis=0), rtol=1e-9, atol=1e-10)

    @fits
    @pytest.mark.parametrize("target", ["denoise", "score"])
    def test_same_span_same_prediction(self, fit, target, images, fresh):
        """Powers 0 to D span what He_0 to He_D span; so do joint features, closed under division."""
        couplings = COUPLINGS if fit is ws.JointScore else COUPLINGS[:1]
        for coupling in couplings:
            options = {"ridge": 0, "target": target}
            monomial = fit(BASIS, coupling, **options).fit(images)
            hermite = fit(BASIS, coupling, polynomials="hermite", **options).fit(images)
            noisy = fresh[:20] + 1
            assert_allclose(hermite.denoise(noisy, 2.0), monomial.denoise(noisy, 2.0), atol=1e-6)

    def test_another_span_another_prediction(self, images, fresh):
        """He_2(y_k) He_1(y_l) contains y_l, which is no feature of the local family: the fits differ."""
        noisy = fresh[:20] + 1
        for coupling in COUPLINGS[1:3]:
            fits = [ws.WaveletScore(BASIS, coupling, p, ridge=0).fit(images) for p in ("monomial", "hermite")]
            assert (fits[0].denoise(noisy, 1.0) - fits[1].denoise(noisy, 1.0)).abs().max() > 1e-4

    @pytest.mark.parametrize("coupling", COUPLINGS, ids=repr)
    def test_pure_noise_is_orthogonal(self, coupling):
        model = ws.WaveletScore(BASIS, coupling, polynomials="hermite").fit(torch.zeros(5, 8, 8))
        for group, gram in zip(model.groups, model.gram(3.0), strict=True):
            norms = [np.prod([factorial(e) for e in row]) for row in group.family.exponents]
            assert_allclose(gram, np.tile(np.diag(norms), (len(gram), 1, 1)), atol=1e-12)

    @pytest.mark.parametrize("coupling", COUPLINGS, ids=repr)
    def test_conditioning_is_the_ratio_of_eigenvalues(self, coupling, images):
        model = ws.WaveletScore(BASIS, coupling).fit(images)
        hermite = ws.WaveletScore(BASIS, coupling, polynomials="hermite").fit(images)
        condition = model.conditioning(2.0)
        assert_allclose(condition["hermite"], hermite.conditioning(2.0)["hermite"])
        for name, grams in (("raw", model.gram(2.0)), ("hermite", hermite.gram(2.0))):
            for group, gram in zip(model.groups, grams, strict=True):
                assert_allclose(condition[name][group.targets], np.linalg.cond(gram.numpy()), rtol=1e-5)
        for group, gram, equations in zip(model.groups, model.gram(2.0), model.moments.equations(2.0), strict=True):
            unit = (equations.spread[:, None, :] ** torch.from_numpy(group.family.exponents)).prod(-1)
            scaled = gram / (unit[:, :, None] * unit[:, None, :])
            assert_allclose(condition["scaled"][group.targets], np.linalg.cond(scaled.numpy()), rtol=1e-5)
        details = slice(16, None)
        assert (condition["hermite"][details] < condition["scaled"][details]).all()
        assert condition["hermite"].median() < condition["scaled"].median() < condition["raw"].median()

    def test_refuses_other_polynomials(self):
        with pytest.raises(ValueError, match="polynomials is 'legendre'; expected one of 'monomial', 'hermite'"):
            ws.WaveletScore(BASIS, ws.independent(1), polynomials="legendre")


class TestShared:
    @pytest.mark.parametrize("coupling", SHARED, ids=repr)
    @pytest.mark.parametrize("polynomials", ["monomial", "hermite"])
    def test_is_one_regression_for_a_subband(self, coupling, polynomials, images):
        """Stack the noisy copies of all places of a subband as if they were images, and regress."""
        sigma, ridge = 1.5, 1e-2
        noise = ws.SampledNoise([sigma], draws=2, seed=1)
        model = ws.WaveletScore(BASIS, coupling, polynomials, ridge=ridge, bounded=False).fit(images, noise=noise)
        clean = np.tile(BASIS.analyze(images).numpy(), (2, 1))
        pixels = torch.cat([standard_normal(0, len(images), (8, 8), 1, FITTING, k) for k in range(2)]).double()
        noisy = clean + sigma * BASIS.analyze(pixels).numpy()
        predicted = np.empty_like(clean)
        for group in model.groups:
            for band in BASIS.subbands:
                rows = [r for r in group.neighbours if band.slice.start <= r[0] < band.slice.stop]
                if not rows:
                    continue
                y = noisy[:, rows].reshape(-1, group.neighbours.shape[1])
                scaled = y / y.std(axis=0)
                single = [scaled**e for e in range(4)]
                if polynomials == "hermite":
                    single = [np.polynomial.hermite_e.hermeval(scaled, np.eye(4)[e]) for e in range(4)]
                phi = np.array(
                    [np.prod([single[e][:, q] for q, e in enumerate(row)], axis=0) for row in group.family.exponents]
                ).T
                targets = [r[0] for r in rows]
                gram = phi.T @ phi / len(phi) + ridge * np.eye(phi.shape[1])
                hat = np.linalg.solve(gram, phi.T @ clean[:, targets].reshape(-1) / len(phi))
                predicted[:, targets] = (phi @ hat).reshape(-1, len(targets))
        estimate = model.denoise(BASIS.synthesize(torch.from_numpy(noisy)), sigma)
        assert_allclose(BASIS.analyze(estimate), predicted, atol=1e-9)

    def test_counts_its_parameters_once_a_subband(self):
        basis = ws.WaveletBasis(32)
        assert ws.WaveletScore(basis, ws.independent(3)).num_parameters == 4 * 1024
        assert ws.WaveletScore(basis, ws.independent(3, shared=True)).num_parameters == 4 * len(basis.subbands)
        assert ws.WaveletScore(basis, ws.local_coupled(3, 1, shared=True)).num_parameters == 28 * len(basis.subbands)

    @pytest.mark.parametrize("coupling", SHARED, ids=repr)
    def test_sums_are_those_of_the_untied_family(self, coupling, images):
        """Tying is a constraint: it never lowers the training risk; coefficients of a subband agree."""
        tied = ws.WaveletScore(BASIS, coupling, ridge=0).fit(images)
        untied_name = coupling.name.replace(", shared=True", "")
        untied = ws.Coupling(
            untied_name, lambda basis: [ws.Group(g.neighbours, g.family) for g in coupling.groups(basis)]
        )
        free = ws.WaveletScore(BASIS, untied, ridge=0).fit(images)
        for name, total in tied.moments.totals.items():
            assert_allclose(total, free.moments.totals[name])
        assert tied.risk(1.0) > free.risk(1.0) + 1e-5
        for group, rows in zip(tied.groups, tied.coefficients(1.0), strict=True):
            for tie in np.unique(group.ties):
                same = rows[group.ties == tie]
                assert_allclose(same, same[:1].expand_as(same))

    def test_is_equivariant_like_a_convolution(self, images):
        """Shifting by the coarsest step shifts the estimate, as no untied fit does."""
        noisy = images[:10] + 0.5
        shifted = noisy.roll((2, 4), dims=(1, 2))
        tied = ws.WaveletScore(BASIS, ws.local_coupled(2, 1, pure_neighbours=True, shared=True)).fit(images)
        assert_allclose(tied.denoise(shifted, 1.0), tied.denoise(noisy, 1.0).roll((2, 4), dims=(1, 2)), atol=1e-10)
        free = ws.WaveletScore(BASIS, ws.independent(2)).fit(images)
        assert (free.denoise(shifted, 1.0) - free.denoise(noisy, 1.0).roll((2, 4), dims=(1, 2))).abs().max() > 0.1


class TestRidge:
    @fits
    def test_path_is_the_solution_of_each_ridge(self, fit, images):
        model = fit(BASIS, ws.band_tied(2)).fit(images)
        for ridge in (0.0, 1e-3, 10.0):
            other, alone = model.with_ridge(ridge), fit(BASIS, ws.band_tied(2), ridge=ridge).fit(images)
            assert repr(other) == repr(alone)
            assert torch.equal(other.denoise(images[:5], 1.0), alone.denoise(images[:5], 1.0))
            assert other.chosen_ridge(1.0) == ridge
        assert model.ridge == 1e-6

    @fits
    @pytest.mark.parametrize("target", ["denoise", "score"])
    @pytest.mark.parametrize("noise", [None, ws.SampledNoise([1.0, 0.3], draws=4)], ids=["exact", "sampled"])
    def test_auto_takes_the_best_on_what_it_held_out(self, fit, target, noise, images):
        """One image of ten is held out; the choice minimises the error there, found again by hand."""
        coupling, images, chosen = ws.band_tied(2), images[:60], []
        auto = fit(BASIS, coupling, ridge="auto", target=target, bounded=False).fit(images, noise=noise)
        held = torch.from_numpy(image_checksums(images) % 10 == 0)
        for sigma in (1.0, 0.3):
            errors = {}
            for ridge in estimator.RIDGES:
                model = fit(BASIS, coupling, ridge=ridge, target=target, bounded=False)
                if noise is None:
                    model.fit(images[~held])
                    errors[ridge] = model.risk(sigma, images[held])
                else:
                    model.moments = auto.moments
                    clean = images[held].repeat(4, 1, 1)
                    pixels = [standard_normal(0, len(images), (8, 8), 0, FITTING, k)[held] for k in range(4)]
                    noisy = clean + sigma * torch.cat(pixels).double()
                    errors[ridge] = (model.denoise(noisy, sigma) - clean).square().mean().item()
            best = min(errors, key=errors.get)
            assert auto.chosen_ridge(sigma) == best
            chosen.append(best)
            if noise is None:
                whole = fit(BASIS, coupling, ridge=best, target=target, bounded=False).fit(images)
                assert_allclose(auto.denoise(images[:9], sigma), whole.denoise(images[:9], sigma), atol=1e-7)
        if target == "denoise":  # a ridge on the score serves best at 0 here, or close to it
            assert any(estimator.RIDGES[0] < ridge < estimator.RIDGES[-1] for ridge in chosen)

    @fits
    @pytest.mark.parametrize("parts", [(37, 201), range(9, 300, 9), range(15, 300, 15), range(1, 20)], ids=repr)
    def test_auto_does_not_depend_on_batches_nor_parts(self, fit, parts, images, tmp_path):
        """Streamed, merged from parts of any size in any order, or read back: ridges and denoiser of one fit."""

        def auto():
            return fit(BASIS, ws.independent(3), ridge="auto")

        whole, streamed = auto().fit(images), auto()
        pieces = [torch.as_tensor(piece) for piece in np.split(images.numpy(), list(parts))]
        for piece in pieces:
            streamed.partial_fit(piece)
        merged = reduce(fit.merge, [auto().fit(piece) for piece in reversed(pieces)])
        whole.save(tmp_path / "model")
        assert 20 < whole.held_out.count < 40
        for other in (streamed, merged, fit.load(tmp_path / "model")):
            assert other.held_out.count == whole.held_out.count
            for sigma in (0.3, 1.0, 2.0):
                assert other.chosen_ridge(sigma) == whole.chosen_ridge(sigma)
                assert_allclose(other.denoise(images[:5], sigma), whole.denoise(images[:5], sigma), atol=1e-9)

    @fits
    @pytest.mark.parametrize("count", [1, 2, 3, 5, 9, 12])
    def test_few_images_do(self, fit, count, images):
        """Whether some are held out, none or all: a ridge is chosen, by the images at hand."""
        held = torch.from_numpy(image_checksums(images) % 10 == 0)
        for some in (images[~held][:count], images[held][:count], images[:count]):
            model = fit(BASIS, ws.independent(2), ridge="auto").fit(some)
            risks = {
                ridge: fit(BASIS, ws.independent(2), ridge=ridge).fit(some).risk(1.0) for ridge in estimator.RIDGES
            }
            assert model.denoise(images[:3], 1.0).isfinite().all()
            if not 0 < model.held_out.count < count:
                assert model.chosen_ridge(1.0) == min(risks, key=risks.get)

    def test_one_image_of_ten_is_held_out_of_any_images(self):
        """Of MNIST-like, random and nearly equal ones: the checksum mixes all bits."""
        near = torch.zeros(5000, 8, 8)
        near[:, 3, 4] = torch.arange(5000) / 5000
        drawn = torch.rand(5000, 8, 8, generator=torch.Generator().manual_seed(0))
        for images in (ws.load_images("strokes", size=8, limit=5000), drawn, drawn.round(), near):
            different = torch.unique(images, dim=0)
            share = np.mean(image_checksums(different) % 10 == 0)
            assert abs(share - 0.1) < 4 * np.sqrt(0.09 / len(different))

    def test_refusals(self, images):
        auto = ws.WaveletScore(BASIS, ws.independent(1), ridge="auto").fit(images)
        with pytest.raises(ValueError, match="holds images out; expected a model with a number"):
            auto.with_ridge(1.0)
        with pytest.raises(ValueError, match="ridge is 'best'; expected a finite number >= 0"):
            ws.WaveletScore(BASIS, ws.independent(1), ridge="best")


class TestRisk:
    @fits
    @pytest.mark.parametrize("target", ["denoise", "score"])
    @pytest.mark.parametrize("polynomials", ["monomial", "hermite"])
    @pytest.mark.parametrize("coupling", [COUPLINGS[1], COUPLINGS[3]], ids=repr)
    def test_risk_is_the_expected_error(self, fit, target, polynomials, coupling, images, fresh):
        """By 100 noisy copies of each image: within four standard errors, and the error bar is narrow."""
        model = fit(BASIS, coupling, polynomials, ridge=1e-2, target=target).fit(images)
        for data, risk in ((fresh, model.risk(1.0, fresh)), (images, model.risk(1.0))):
            generator = torch.Generator().manual_seed(0)
            errors = []
            for _ in range(100):
                noisy = data + torch.randn(data.shape, generator=generator, dtype=torch.float64)
                errors.append((model.denoise(noisy, 1.0) - data).square().mean().item())
            mean, error = np.mean(errors), np.std(errors, ddof=1) / np.sqrt(100)
            assert error < 0.02 * mean
            assert abs(risk - mean) < 4 * error

    def test_refusals(self, images):
        sampled = ws.WaveletScore(BASIS, ws.independent(1)).fit(images, noise=ws.SampledNoise([1.0]))
        with pytest.raises(ValueError, match="expected images to integrate the risk over"):
            sampled.risk(1.0)
        assert sampled.risk(1.0, images) > 0
        with pytest.raises(RuntimeError, match="is not fitted"):
            ws.WaveletScore(BASIS, ws.independent(1)).risk(1.0)


class TestFrames:
    """In a padded frame coefficient noise is correlated: sampled fits, and refusals that say why."""

    FRAME = ws.WaveletFrame(8, "db2", level=1, mode="symmetric")

    @fits
    @pytest.mark.parametrize("coupling", [ws.independent(2), ws.band_tied(2, parent=True)], ids=repr)
    def test_sampled_fit_is_regression_onto_frame_coefficients(self, fit, coupling, images):
        sigma, ridge, draws = 1.2, 1e-2, 3
        model = fit(self.FRAME, coupling, ridge=ridge, bounded=False).fit(images, noise=ws.SampledNoise([sigma], draws))
        clean = np.tile(self.FRAME.analyze(images).numpy(), (draws, 1))
        pixels = torch.cat([standard_normal(0, len(images), (8, 8), 0, FITTING, k) for k in range(draws)]).double()
        noisy_images = images.repeat(draws, 1, 1) + sigma * pixels
        noisy = self.FRAME.analyze(noisy_images).numpy()
        scaled, predicted = noisy / noisy.std(axis=0), np.empty_like(clean)
        systems = [(group.neighbours, group.family.exponents) for group in model.groups]
        if fit is ws.JointScore:
            factors = np.column_stack([scaled, np.ones(len(scaled))])[:, model.features.factors]
            phi = factors.prod(axis=2)
            gram = phi.T @ phi / len(phi) + ridge * np.eye(phi.shape[1])
            predicted = phi @ np.linalg.solve(gram, phi.T @ clean / len(phi))
            systems = []
        for neighbours, table in systems:
            for row in neighbours:
                phi = np.prod(scaled[:, None, row] ** table, axis=2)
                gram = phi.T @ phi / len(phi) + ridge * np.eye(len(table))
                predicted[:, row[0]] = phi @ np.linalg.solve(gram, phi.T @ clean[:, row[0]] / len(phi))
        expected = np.linalg.lstsq(self.FRAME.matrix().numpy(), predicted.T, rcond=None)[0].T
        assert_allclose(model.denoise(noisy_images, sigma).flatten(1), expected, atol=1e-8)

    @fits
    def test_round_trip(self, fit, images, tmp_path):
        model = fit(self.FRAME, ws.independent(1)).fit(images, noise=ws.SampledNoise([1.0]))
        model.save(tmp_path / "model.npz")
        loaded = fit.load(tmp_path / "model.npz", basis=self.FRAME)
        assert torch.equal(loaded.denoise(images, 1.0), model.denoise(images, 1.0))
        with pytest.raises(ValueError, match=r"mode='symmetric'\); expected WaveletBasis\(8"):
            fit.load(tmp_path / "model.npz", basis=BASIS)

    @fits
    def test_refusals_say_why(self, fit, images):
        model = fit(self.FRAME, ws.independent(1))
        why = "noise is correlated in WaveletFrame"
        with pytest.raises(ValueError, match=rf"{why}.* expected fit\(images, noise=SampledNoise"):
            model.fit(images)
        with pytest.raises(ValueError, match=rf"{why}.* expected fit"):
            model.partial_fit(images)
        with pytest.raises(ValueError, match=rf"target is 'score'.*{why}"):
            fit(self.FRAME, ws.independent(1), target="score")
        with pytest.raises(ValueError, match="noise is not integrated out in WaveletFrame"):
            model.fit(images, noise=ws.SampledNoise([1.0])).risk(1.0, images)


def saved(model):
    """All numbers that a model keeps, as copies."""
    sums = [model.moments, *([model.held_out] if model.held_out else [])]
    return [total.clone() for part in sums for total in part.totals.values()]


class TestEquationsAreAValue:
    """A solver sees equations and a ridge; asking changes nothing."""

    @fits
    @pytest.mark.parametrize("noise", [None, ws.SampledNoise([0.5, 1.0], draws=3)], ids=["exact", "sampled"])
    @pytest.mark.parametrize("ridge", [1e-4, "auto"])
    def test_asking_changes_nothing_that_is_saved(self, fit, noise, ridge, images):
        model = fit(BASIS, ws.band_tied(2), "hermite", ridge).fit(images, noise)
        before = saved(model)
        for sigma in (1.0, 0.5):
            model.denoise(images[:3], sigma)
            model.gram(sigma)
            model.conditioning(sigma)
            model.chosen_ridge(sigma)
            model.moments.equations(sigma)
        if noise is None:
            model.risk(1.0)
        for left, right in zip(saved(model), before, strict=True):
            assert torch.equal(left, right)

    @fits
    def test_solving_leaves_the_equations_as_they_are(self, fit, images):
        model = fit(BASIS, ws.band_tied(2), "hermite", 1e-4).fit(images)
        equations = model.moments.equations(1.0, "hermite")
        every = equations if isinstance(equations, list) else [equations]
        before = [(e.gram.clone(), e.denoise.clone()) for e in every]
        model._solve(equations, 1e-2)
        for e, (gram, denoise) in zip(every, before, strict=True):
            assert torch.equal(e.gram, gram)
            assert torch.equal(e.denoise, denoise)

    @fits
    def test_a_ridge_is_chosen_from_two_sets_of_equations(self, fit, images, monkeypatch):
        model = fit(BASIS, ws.independent(3), ridge="auto").fit(images)
        built = []
        for sums in (model.moments, model.held_out):
            for name in ("equations", "closed_equations"):
                build = getattr(type(sums), name)
                monkeypatch.setattr(sums, name, lambda *a, s=sums, b=build, n=name: built.append(n) or b(s, *a))
        model.chosen_ridge(1.0)
        assert built[0] == "equations"
        assert built[1] == "closed_equations"
        assert len(built) == (2 if fit is ws.WaveletScore else 3)  # joint features are closed: the one asks the other

    @fits
    def test_risks_at_many_noise_levels_sum_the_images_once(self, fit, images, fresh, monkeypatch):
        model = fit(BASIS, ws.independent(3)).fit(images)
        sigmas = [0.5, 1.0, 2.0]
        apart = [model.risk(sigma, fresh) for sigma in sigmas]
        analysed = []
        analyze = BASIS.analyze
        monkeypatch.setattr(BASIS, "analyze", lambda x: analysed.append(len(x)) or analyze(x), raising=False)
        together = model.risk(sigmas, fresh)
        assert analysed == [len(fresh)]
        assert together.dtype == torch.float64
        assert together.tolist() == apart
        assert model.risk(np.float64(1.0), fresh) == model.risk(1, fresh) == apart[1]


class TestFiles:
    @fits
    @pytest.mark.parametrize("noise", [None, ws.SampledNoise([1.0], draws=3)], ids=["exact", "sampled"])
    def test_round_trip(self, fit, noise, images, tmp_path):
        path = tmp_path / "model.npz"
        model = fit(BASIS, ws.band_tied(2, parent=True), "hermite", 1e-3, "score").fit(images, noise=noise)
        model.save(path)
        loaded = fit.load(path, basis=BASIS)
        assert repr(loaded) == repr(model)
        assert loaded.fingerprint == model.fingerprint
        assert torch.equal(loaded.denoise(images, 1.0), model.denoise(images, 1.0))
        other = next(kind for kind in FITS if kind is not fit)
        with pytest.raises(ValueError, match=f"kind '{fit.__name__}'; expected '{other.__name__}'"):
            other.load(path)

    def test_shared_round_trip(self, images, tmp_path):
        model = ws.WaveletScore(BASIS, SHARED[2]).fit(images)
        model.save(tmp_path / "model.npz")
        loaded = ws.WaveletScore.load(tmp_path / "model.npz")
        assert loaded.num_parameters == model.num_parameters
        assert torch.equal(loaded.denoise(images, 1.0), model.denoise(images, 1.0))

    def test_wrong_shape_is_refused(self, images, tmp_path):
        path = tmp_path / "model.npz"
        ws.JointScore(BASIS, ws.independent(1)).fit(images).save(path)
        header, arrays = storage.read(path, "JointScore", FORMAT)
        storage.write(path, header, {**arrays, "gram": arrays["gram"][:, :-1]})
        with pytest.raises(ValueError, match=r"holds shape \[1, 64, 65\] for gram; expected shape \[1, 65, 65\]"):
            ws.JointScore.load(path)

    def test_parts_fitted_by_two_processes_merge(self, images, tmp_path):
        """Each process fits its half and saves; the merged file is the fit of the whole."""
        with multiprocessing.get_context("spawn").Pool(2) as pool:
            paths = pool.map(fit_half, [(first, str(tmp_path / f"{first}.npz")) for first in (0, 150)])
        merged = ws.WaveletScore.load(paths[1]).merge(ws.WaveletScore.load(paths[0]))
        whole = ws.WaveletScore(BASIS, ws.local_coupled(2, 1)).fit(images)
        assert merged.fingerprint == whole.fingerprint
        assert_allclose(merged.denoise(images[:9], 1.0), whole.denoise(images[:9], 1.0), atol=1e-9)

    def test_fingerprint_tells_images_apart(self, images):
        model = ws.WaveletScore(BASIS, ws.independent(1)).fit(images)
        assert model.fingerprint == f"300 images {image_checksum(images):016x}"
        parts = [ws.WaveletScore(BASIS, ws.independent(1)).fit(part) for part in images.split(20)]
        assert reduce(ws.WaveletScore.merge, parts).fingerprint == model.fingerprint
        assert image_checksum(images.flip(0)) == image_checksum(images)
        assert image_checksum(images.float()) == image_checksum(images)
        changed = images.clone()
        changed[7, 3, 3] += 1e-3
        swapped = images.clone()
        swapped[:, 0, 0], swapped[:, 3, 3] = images[:, 3, 3], images[:, 0, 0]
        marks = [images, changed, swapped, images[1:], images.mT, images.roll(1, dims=0)[:299]]
        marks.append(images.roll(2, dims=2))  # whole words of the checksum in another order
        assert len({image_checksum(x) for x in marks}) == len(marks)


def fit_half(task):
    first, path = task
    images = ws.load_images("strokes", size=8, limit=300).double()
    ws.WaveletScore(BASIS, ws.local_coupled(2, 1)).fit(images[first : first + 150]).save(path)
    return path


@fits
def test_refuses_a_device_that_is_not_there(fit):
    with pytest.raises(ValueError, match="device is 'tpu'; expected one of 'cpu', 'cuda'"):
        fit(BASIS, ws.independent(1), device="tpu")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="torch finds no GPU"):
            fit(BASIS, ws.independent(1), device="cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@fits
@pytest.mark.parametrize("coupling", COUPLINGS, ids=repr)
@pytest.mark.parametrize("noise", [None, ws.SampledNoise([1.0], draws=3)], ids=["exact", "sampled"])
def test_gpu_gives_the_same(fit, coupling, noise, images):
    here = fit(BASIS, coupling).fit(images, noise=noise)
    there = fit(BASIS, coupling, device="cuda").fit(images, noise=noise)
    for name, total in here.moments.totals.items():
        assert_allclose(there.moments.totals[name].cpu(), total, rtol=1e-10, atol=1e-10)
    assert_allclose(there.denoise(images.cuda(), 1.0).cpu(), here.denoise(images, 1.0), atol=1e-10)


def test_merge_refuses_another_value_range(images):
    one = ws.WaveletScore(BASIS, ws.independent(1)).fit(images)
    other = ws.WaveletScore(BASIS, ws.independent(1), value_range=None).fit(images)
    with pytest.raises(ValueError, match="expected two models made alike"):
        one.merge(other)


def test_merge_compares_tables_and_not_names(images):
    """Two rules of one name: each coefficient with the one after it, or with the one before."""
    family = ws.PolynomialFamily(np.array([[0, 0], [1, 0], [0, 1]]))

    def chain(step):
        own = np.arange(BASIS.dim)
        table = np.stack([own, (own + step) % BASIS.dim], axis=1)
        return ws.WaveletScore(BASIS, ws.Coupling("chain", lambda basis: [ws.Group(table, family)])).fit(images)

    with pytest.raises(ValueError, match="cannot merge two models whose chain have other tables"):
        chain(1).merge(chain(-1))
    assert chain(1).merge(chain(1)).fingerprint.startswith("600 images")


def test_a_value_range_may_be_a_list(images, tmp_path):
    model = ws.WaveletScore(BASIS, ws.independent(1), value_range=[0, 1]).fit(images)
    model.save(tmp_path / "model.npz")
    assert ws.WaveletScore.load(tmp_path / "model.npz").merge(model).fingerprint.startswith("600 images")


def test_more_images_choose_the_ridge_anew(images):
    """Few images ask for another ridge than many: what was chosen is forgotten when images are added."""
    coupling = ws.local_coupled(3, 1)
    grown = ws.WaveletScore(BASIS, coupling, ridge="auto").fit(images[:30])
    before = grown.chosen_ridge(0.5)
    grown.partial_fit(images[30:])
    whole = ws.WaveletScore(BASIS, coupling, ridge="auto").fit(images)
    assert grown.chosen_ridge(0.5) == whole.chosen_ridge(0.5) != before


def test_a_merged_automatic_fit_has_the_held_out_images_of_both(images):
    one, other = (ws.WaveletScore(BASIS, ws.independent(2), ridge="auto").fit(part) for part in images.split(150))
    merged = one.merge(other)
    held = int((image_checksums(images) % 10 == 0).sum())
    assert (merged.moments.count, merged.held_out.count) == (300 - held, held)
    for name, total in merged.held_out.totals.items():
        assert_allclose(total, one.held_out.totals[name] + other.held_out.totals[name])


def test_risk_on_images_does_not_ask_the_model_for_its_held_out_ones(images, fresh):
    auto = ws.WaveletScore(BASIS, ws.independent(2), ridge="auto").fit(images)
    plain = ws.WaveletScore(BASIS, ws.independent(2), ridge=auto.chosen_ridge(1.0)).fit(images)
    assert_allclose(auto.risk(1.0, fresh), plain.risk(1.0, fresh), rtol=1e-12)


@fits
def test_expectations_are_over_the_images_that_were_summed(fit, images):
    """With ridge="auto" fewer are summed than are seen: the constant's mean square is 1 all the same."""
    model = fit(BASIS, ws.independent(1), ridge="auto").fit(images)
    for sums in (model.moments, model.held_out, model._everything(), model.merge(model).moments):
        equations = sums.equations(1.0)
        gram = equations[0].gram[0] if isinstance(equations, list) else equations.gram
        assert gram[0, 0] == 1.0


def test_ridges_that_are_tried_go_from_nothing_to_overwhelming():
    assert_allclose(estimator.RIDGES, 10.0 ** np.arange(-12, 3))
