"""All cases: passes over images, what follows a pass, the joint fit, sampling, transforms, and how costs grow."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
import pywt
import torch

from .. import couplings
from ..bases.wavelets import WaveletBasis
from ..couplings import Coupling, independent, local_coupled
from ..denoisers import Denoiser, Wiener
from ..denoisers.protocol import FittedDenoiser
from ..groups import Group
from ..joint_score import KEPT, JointScore
from ..moments import BATCH, Moments
from ..networks import Network
from ..sampling import noise_levels, sample
from ..scores import WaveletScore
from ..study import SIGMAS
from ..support.progress import progress
from . import bare
from .memory import peak_of_pass
from .setting import Setting
from .timing import Case, Limit, Row, growth, row, timed

DENOISED = 10_000
SAMPLES, STEPS = 64, KEPT  # images; as many steps as a joint fit remembers solutions for


class Family(NamedTuple):
    """A family at some degree, how often its pass may take the time of a bare one, and whether that one reads."""

    at_degree: Callable[..., Coupling]
    most: float = 3.0
    reads: bool = True

    @property
    def name(self) -> str:
        """What cases call it, whatever the degree."""
        return _written(self.at_degree(DEGREE)).partition("(")[0]


LOCAL = Family(local_coupled, 2.5, reads=False)
FAMILIES = (LOCAL, *(Family(family) for family in reversed(couplings.FAMILIES.values()) if family is not local_coupled))
DEGREE = 3


def measure(setting: Setting) -> list[Row]:
    """Run all cases.

    Parameters
    ----------
    setting : Setting

    Returns
    -------
    list of dict
        Rows with the same keys for `table` and `write`: median seconds of a case and of its counterpart, their ratio,
        the counterpart's floating-point operations, and whether a limit is kept.
    """
    rows: list[Row] = []
    seconds: dict[str, float] = {}
    parts = (passes, after_a_pass, joint_fit, sampling, transforms, sweeps)
    cases = itertools.chain.from_iterable(part(setting) for part in parts)
    for case in progress(cases, desc="wavescore bench", unit=" cases", leave=False):
        rows.append(timed(case, seconds, setting.turns, setting.seconds, setting.judged))
        seconds[case.name] = rows[-1]["seconds"]
    return [*rows, _memory(setting), *growth(rows, setting.judged)]


def passes(setting: Setting) -> Iterator[Case]:
    """Noise-exact fits of each coefficient, on a part of the images and on all; and their sums alone."""
    basis, images = WaveletBasis(setting.size), setting.load()
    for part in (8, 4, 2, 1):
        some = images[: len(images) // part]
        for family in FAMILIES:
            yield _pass(family, DEGREE, some, setting.device, "images", len(some), limited=part == 1)
    coefficients = basis.analyze(images.to(setting.device).double())
    by_coefficient = coefficients.T.contiguous()
    for family in FAMILIES:
        if family.reads:
            groups = family.at_degree(DEGREE).groups(basis)
            yield Case(
                f"sums from coefficients, {_written(family.at_degree(DEGREE))}",
                partial(_sum_up, groups, coefficients),
                partial(bare.arithmetic, groups, by_coefficient),
                "reading, sums",
                len(images),
                setting.size,
                Limit("ratio", family.most),
            )


def after_a_pass(setting: Setting) -> Iterator[Case]:
    """Further noise levels, and denoising many images and one."""
    basis, images = WaveletBasis(setting.size), setting.load(count=min(DENOISED, setting.images))
    noisy = images + 2 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    noisy = noisy.to(setting.device)
    sigmas = (1 + 1e-4 * k for k in itertools.count())
    for family in FAMILIES:
        coupling = family.at_degree(DEGREE)
        model = WaveletScore(basis, coupling, device=setting.device).fit(images)
        yield Case(
            f"further noise level, {_written(coupling)}",
            partial(_solve_next, model, sigmas),
            partial(bare.level, model.groups),
            "products, solutions",
            setting.images,
            setting.size,
            Limit("share", 0.02),
            share_of=f"pass, {_written(coupling)}",
        )
        for some, most in ((noisy, 1.5), (noisy[:1], 0.003)):
            yield Case(
                f"denoise, {_written(coupling)}",
                partial(model.denoise, some, 2.0),
                partial(_bare_denoising, basis, model.groups, some),
                "transforms, products",
                len(some),
                setting.size,
                None if family.reads else Limit("seconds", most),
            )


def joint_fit(setting: Setting) -> Iterator[Case]:
    """The joint fit (eq. 23), with its solutions at four noise levels."""
    basis, coupling, images = WaveletBasis(setting.size), independent(DEGREE), setting.load()
    features = len(JointScore(basis, coupling).features)

    def run() -> None:
        model = JointScore(basis, coupling, device=setting.device).fit(images)
        for sigma in SIGMAS:
            model.coefficients(sigma)

    yield Case(
        f"joint, {_written(coupling)}, {len(SIGMAS)} noise levels",
        run,
        partial(bare.joint, features, basis.dim, len(images), len(SIGMAS), setting.device),
        "products, factors, solutions",
        len(images),
        setting.size,
        Limit("ratio", 2.5),
    )


def sampling(setting: Setting) -> Iterator[Case]:
    """Samples, and the call of a denoiser that a step makes twice, beside those of a small U-Net.

    Weights of any value take the same time, so the U-Net is not a trained one. On the probability flow a step has one
    noise level, whose solution is there from the turn that is not counted; `after_a_pass` tells what it costs.
    """
    basis, images = WaveletBasis(setting.size), setting.load(count=min(DENOISED, setting.images))
    scores = [WaveletScore(basis, family.at_degree(DEGREE), device=setting.device) for family in FAMILIES]
    limited = {_written(score.coupling): score for score in scores}
    joint = JointScore(basis, independent(DEGREE), device=setting.device)
    network = Network("unet-small", setting.size).requires_grad_(False).to(setting.device)
    levels, shape = noise_levels(STEPS, sigma_max=network.sigma_range[1]), (SAMPLES, *basis.shape)
    noisy = (2 * torch.randn(shape, generator=torch.Generator().manual_seed(0))).to(setting.device)
    others: dict[str, FittedDenoiser] = {"Wiener": Wiener(), f"joint {_written(joint.coupling)}": joint}
    for name, unfitted in {**limited, **others}.items():
        model = unfitted.fit(images)
        parts = {"call of a step": partial(_call, noisy), f"samples in {STEPS} steps": partial(_sample, shape, levels)}
        for what, run in parts.items():
            yield Case(
                f"{what}, {name}",
                partial(run, model),
                partial(run, network),
                "unet-small",
                SAMPLES,
                setting.size,
                Limit("ratio", 0.1) if name in limited else None,
            )


def transforms(setting: Setting) -> Iterator[Case]:
    """Analysis and synthesis beside one read and one write through their products, and beside PyWavelets."""
    basis = WaveletBasis(setting.size)
    for dtype in (torch.float32, torch.float64):
        images = setting.load().to(setting.device, dtype)
        pixels = images.cpu().numpy()

        name, shape = f"analysis and synthesis, {str(dtype).removeprefix('torch.')}", (len(images), setting.size)
        read_and_write = partial(bare.transform, basis, images)
        run, by_pywavelets = partial(_there_and_back, basis, images), partial(_by_pywavelets, basis, pixels)
        yield Case(name, run, read_and_write, "reading, products, writing", *shape, Limit("ratio", 3.0))
        yield Case(name, run, by_pywavelets, "PyWavelets", *shape)


def sweeps(setting: Setting) -> Iterator[Case]:
    """Passes over equally many pixels at all sizes, and over few images at all radii and degrees."""
    for factor in (0.5, 1, 2, 4):
        size = int(factor * setting.size)
        images = setting.load(size, int(setting.images / (2 * factor) ** 2))
        for family in FAMILIES:
            yield _pass(family, DEGREE, images, setting.device, "size", size)
    few = setting.load(count=setting.images // 32)
    for radius in range(4):
        family = LOCAL._replace(at_degree=partial(local_coupled, radius=radius))
        yield _pass(family, DEGREE, few, setting.device, "radius", radius)
    for degree in range(1, 5):
        for family in FAMILIES:
            yield _pass(family, degree, few, setting.device, "degree", degree)


def _pass(
    family: Family, degree: int, images: torch.Tensor, device: str, axis: str, at: float, limited: bool = False
) -> Case:
    coupling, basis = family.at_degree(degree), WaveletBasis(images.shape[-1])
    groups, pixels = coupling.groups(basis), images.to(device).double()
    coefficients = basis.analyze(pixels).T.contiguous()

    def read_and_multiply() -> int:
        return bare.transform(basis, pixels) + bare.arithmetic(groups, coefficients)

    return Case(
        f"pass, {_written(coupling)}",
        lambda: WaveletScore(basis, coupling, device=device).fit(images),
        read_and_multiply if family.reads else partial(bare.products, groups, coefficients),
        "analysis, reading, sums" if family.reads else "products",
        len(images),
        images.shape[-1],
        Limit("ratio", family.most) if limited else None,
        axis=axis,
        at=at,
    )


def _solve_next(model: WaveletScore, sigmas: Iterator[float]) -> None:
    model.coefficients(next(sigmas))


def _call(noisy: torch.Tensor, model: Denoiser) -> None:
    model.denoise(noisy, 2.0)


def _sample(shape: tuple[int, ...], levels: torch.Tensor, model: Denoiser) -> None:
    sample(model, shape, levels, stochasticity=0)


def _there_and_back(basis: WaveletBasis, images: torch.Tensor) -> None:
    basis.synthesize(basis.analyze(images))


def _by_pywavelets(basis: WaveletBasis, pixels: np.ndarray) -> None:
    periodic = {"wavelet": basis.wavelet, "mode": "periodization", "axes": (1, 2)}
    pywt.waverec2(pywt.wavedec2(pixels, level=basis.level, **periodic), **periodic)


def _sum_up(groups: list[Group], coefficients: torch.Tensor) -> None:
    moments = Moments(groups, device=str(coefficients.device.type))
    for batch in coefficients.split(BATCH):
        moments.update(batch)


def _bare_denoising(basis: WaveletBasis, groups: list[Group], noisy: torch.Tensor) -> int:
    operations = 2 * bare.transform(basis, noisy)
    bare.transform(basis, noisy)
    return operations + bare.predictions(groups, noisy.flatten(1).T)


def _memory(setting: Setting) -> Row:
    return row(
        case=f"memory of a pass, {_written(LOCAL.at_degree(DEGREE))}",
        images=setting.images,
        size=setting.size,
        gib=peak_of_pass(setting.dataset, setting.size, setting.images) / 2**30,
        limit=Limit("gib", 2.0),
        judged=setting.judged,
    )


def _written(coupling: Coupling) -> str:
    """How the coupling is written, without the names of its arguments."""
    return re.sub(r"\w+=", "", repr(coupling))
