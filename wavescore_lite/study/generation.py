"""Samples as tidy rows: how good those of each denoiser are, and how far they are those of a trained network.

All denoisers go the same way from the same noise. Two tables are written: ``...-samples.csv`` has a row for each
denoiser and stochasticity, ``...-agreement.csv`` one for each denoiser and noise level of the way without noise.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from ..denoisers.linear import Wiener
from ..denoisers.protocol import sigma_range
from ..estimator import Estimator
from ..networks import DESIGNS
from ..noise import SAMPLING, standard_normal
from ..sampling import levels_for, sample
from ..support.locks import locked
from ..support.progress import progress
from ..support.storage import file_name, read_rows, recall, write, write_rows
from .candidates import Baseline, Trained, load
from .experiments import release
from .judging import IMAGE_KINDS, agreement, images_of, quality_row
from .trials import IMAGES, Trial, columns

COUNT, STEPS = 2_000, 20  # samples of each; positive noise levels
SIGMA_MAX = 40.0  # where the way begins
STOCHASTICITIES = (0.0, 1.0)
EVERY = 4  # agreement is looked at on each so-manyth level
KEY = ("denoiser", "stochasticity", "reference")  # columns that tell rows of a table from one another

Row = dict[str, str]


class Way(NamedTuple):
    """Where samples of a denoiser are on their way down, and where it thinks that they go.

    Attributes
    ----------
    levels : tuple of float
        Noise levels at which agreement is looked at, the last of them 0.
    estimates : tensor [len(levels), n, height, width], float32
        Clean images that the denoiser expects from its states there; the last are the samples.
    seconds : float
        That sampling took.
    """

    levels: tuple[float, ...]
    estimates: torch.Tensor
    seconds: float

    @property
    def samples(self) -> torch.Tensor:
        """The images at the end, [n, height, width]."""
        return self.estimates[-1]


def tables(path: Path) -> tuple[Path, Path]:
    """Where samples and agreement stand, beside a table of errors.

    Examples
    --------
    >>> [table.name for table in tables(Path("results/mnist-32.csv"))]
    ['mnist-32-samples.csv', 'mnist-32-agreement.csv']
    """
    return path.with_name(f"{path.stem}-samples.csv"), path.with_name(f"{path.stem}-agreement.csv")


def generate(trial: Trial, stochasticity: float, count: int = COUNT, steps: int = STEPS) -> Way:
    """Samples of a trial's denoiser, a wavelet score kept within its bounds, by Heun's method.

    The way begins at SIGMA_MAX, or where the denoiser's range ends, in Gaussian images of the noisy data's mean and
    covariance; as the Wiener denoiser's own flow passes through these, all begin as if from the same noise.
    """
    model = trial.fitted(sigmas=()).model
    if isinstance(model, Estimator):
        model.bounded = True
    levels = levels_for(model, steps, SIGMA_MAX)
    started = time.perf_counter()
    samples, path = sample(
        model,
        (count, trial.size, trial.size),
        levels,
        stochasticity,
        trial.seed,
        _start(trial, count, levels[0].item()),
        path=True,
        batch=count,
    )
    seconds = time.perf_counter() - started
    looked = list(range(0, len(levels) - 1, EVERY))
    estimates = [model.denoise(path[k], levels[k].item()) for k in looked]
    return Way((*levels[looked].tolist(), 0.0), torch.stack([*estimates, samples]), seconds)


def _start(trial: Trial, count: int, sigma: float) -> torch.Tensor:
    wiener = replace(trial, denoiser=Baseline("Wiener")).fitted(sigmas=()).model
    assert isinstance(wiener, Wiener)
    normal = standard_normal(0, count, (trial.size, trial.size), trial.seed, SAMPLING)
    return wiener.starts(normal, sigma)


def run(trials: Iterable[Trial], path: str | Path, count: int = COUNT, steps: int = STEPS) -> list[Row]:
    """Add to the two tables beside `path` what they lack; stopped at any moment, the same call goes on.

    Rows of other images or weights, another count, other steps or another version of the package are made again. Ways
    are kept in a folder ``generated`` beside the tables, which may be removed.

    Returns
    -------
    list of dict
        The rows of the table of samples.

    Raises
    ------
    TimeoutError
        If another run is at work on the tables.
    """
    trials = list(trials)
    samples_path, agreement_path = tables(Path(path))
    with locked(samples_path):
        for made, trial in progress(missing(trials, samples_path, count, steps), desc=str(samples_path)):
            if made["denoiser"] in IMAGE_KINDS:
                seconds, samples = 0.0, images_of(trial, made["denoiser"], count)
            else:
                way = _way(samples_path, trial, float(made["stochasticity"]), count, steps)
                seconds, samples = way.seconds, way.samples
            _replace(samples_path, made, [made | {"seconds": f"{seconds:.1f}"} | quality_row(trial, samples)])
        for trial, reference in progress(references(trials), desc=str(agreement_path)):
            made = {"denoiser": trial.name, "reference": reference.name, **common_columns(trial, count, steps)}
            made |= {"reference_weights": str(columns(reference)["weights"])}
            if not _there(read_rows(agreement_path), made):
                ways = [_way(samples_path, each, 0.0, count, steps) for each in (trial, reference)]
                _replace(agreement_path, made, [made | row for row in _agreement_rows(trial, *ways)])
        return read_rows(samples_path)


def missing(trials: Iterable[Trial], path: Path, count: int = COUNT, steps: int = STEPS) -> list[tuple[Row, Trial]]:
    """How rows that the table of samples lacks are to be made, those without noise first, and of which trial."""
    trials = list(trials)
    plain = replace(trials[0], denoiser=Baseline("mean image"))
    asked = [(plain, {"denoiser": kind, "stochasticity": ""}) for kind in IMAGE_KINDS]
    asked += [(t, {"denoiser": t.name, "stochasticity": f"{s:g}"}) for s in STOCHASTICITIES for t in trials]
    planned = [(key | common_columns(trial, count, steps), trial) for trial, key in asked]
    rows = read_rows(path)
    return [(made, trial) for made, trial in planned if not _there(rows, made)]


def references(trials: Iterable[Trial]) -> list[tuple[Trial, Trial]]:
    """What the samples of each trial are compared with: the best network, and the same design from another seed.

    The best is the last in `networks.DESIGNS` of those that were trained on the widest range of noise levels.
    """
    trained = {t: t.denoiser for t in trials if isinstance(t.denoiser, Trained)}
    if not trained:
        return []
    widest = {t: sigma_range(t.fitted(()).model)[1] for t in trained}
    first = [t for t in trained if not trained[t].seed]
    best = max(first, key=lambda t: (widest[t], list(DESIGNS).index(t.family)))
    seeds = [(t, other) for t in trained for other in first if trained[t].seed and other.family == t.family]
    return list(dict.fromkeys([*((t, best) for t in trials if t != best), *seeds]))


def common_columns(trial: Trial, count: int, steps: int) -> Row:
    """What a row of either table says of how it was made."""
    about = {name: getattr(trial, name) for name in IMAGES} | {"weights": columns(trial)["weights"]}
    made = {"count": count, "steps": steps, "seed": trial.seed, "version": release()}
    return {name: str(value) for name, value in (about | made).items()}


def _agreement_rows(trial: Trial, way: Way, other: Way) -> list[Row]:
    """A row for each noise level that both pass; a way that begins lower passes fewer."""
    mean = load(trial.dataset, trial.size, "train", trial.train).double().mean(dim=0)
    rows = []
    for sigma, images in zip(way.levels, way.estimates, strict=True):
        if sigma in other.levels:
            others = other.estimates[other.levels.index(sigma)]
            rows.append({"sigma": f"{sigma:.6g}", **agreement(images, others, mean)})
    return rows


def _way(path: Path, trial: Trial, stochasticity: float, count: int, steps: int) -> Way:
    """The way of a trial, from its file, or made anew and kept if that is missing, damaged or of another one."""
    words = f"{path.stem}-{trial.name}-{stochasticity:g}"
    file = path.parent / "generated" / f"{file_name(words)}.safetensors"
    about = columns(trial) | common_columns(trial, count, steps) | {"stochasticity": stochasticity}
    if kept := recall(file, "way", about):
        header, arrays = kept
        return Way(tuple(arrays["levels"].tolist()), torch.from_numpy(arrays["estimates"]), header["seconds"])
    way = generate(trial, stochasticity, count, steps)
    file.parent.mkdir(exist_ok=True)
    arrays = {"levels": np.array(way.levels), "estimates": way.estimates.numpy()}
    write(file, {"kind": "way", "seconds": way.seconds, **about}, arrays)
    return way


def _there(rows: Iterable[Row], made: Row) -> bool:
    """Whether there are rows that were made so, and all their numbers are finite."""
    found = [row for row in rows if made.items() <= row.items()]
    numbers = [value for row in found for name, value in row.items() if name not in made]
    try:
        return bool(found) and all(math.isfinite(float(number)) for number in numbers)
    except (TypeError, ValueError):
        return False


def _replace(path: Path, made: Row, rows: list[Row]) -> None:
    """Write the table with these rows in place of those on the same denoiser, stochasticity or reference."""
    same = {name: made[name] for name in KEY if name in made}
    others = [row for row in read_rows(path) if not same.items() <= row.items() and row.keys() == rows[0].keys()]
    write_rows(path, [*others, *rows])
