"""Numbers as tidy rows: how far off each trial is, and by how much it is better than its rivals, image by image."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import torch
from tqdm import tqdm

from .backbones import DESIGNS
from .metrics import error_saved, image_quality
from .networks import training_log
from .noise import FITTING, SCORING
from .scores import JointScore, WaveletScore
from .storage import read, read_rows, write, write_rows
from .trials import HELD_OUT, OWN, Trial, rivals, trial_of
from .wavelets import WaveletBasis

RESIZE = {"mnist": "bilinear, antialiased, from 28 x 28", "strokes": "drawn at this size"}
DIGITS = {"psnr": 3, "ssim": 5}

Errors = dict[tuple[str, float], torch.Tensor]


class Measurement(NamedTuple):
    """Rows of the table, and the squared error of each image, float64 [n], for every evaluation and noise level."""

    rows: list[dict[str, object]]
    errors: Errors


def measure(
    trial: Trial, sigmas: Sequence[float] | None = None, evaluations: Sequence[str] | None = None
) -> Measurement:
    """Fit and score.

    Parameters
    ----------
    trial : Trial
    sigmas, evaluations : sequence, optional
        Noise levels, and sets of images; by default those of the trial.

    Returns
    -------
    Measurement
        A row for each evaluation and noise level: the trial; evaluation; sigma; mse with its standard error, psnr in
        decibel and ssim, means over the images after clipping to [0, 1] (ssim is empty for images smaller than its
        window); mse_a4 and so on, the shares of mse that lie in each subband, by orientation and side; the resize;
        how many parameters a noise level has, or a network for all levels; the seconds that the fit took, solutions
        included, or the training of the network; the version of the package.

    Examples
    --------
    >>> rows, errors = measure(Trial("strokes", 8, 100, 50, "Wiener"), sigmas=[1.0])
    >>> len(rows), errors["held-out", 1.0].shape
    (1, torch.Size([50]))
    """
    sigmas = trial.sigmas if sigmas is None else sigmas
    basis = WaveletBasis(trial.size)
    started = time.perf_counter()
    model = trial.denoiser(sigmas)
    if isinstance(model, WaveletScore | JointScore):
        for sigma in sigmas:
            model.coefficients(sigma)
    seconds = f"{time.perf_counter() - started:.1f}"
    if trial.family in DESIGNS:
        seconds = training_log(trial.family, trial.size, trial.dataset)[-1]["seconds"]
    constant = {
        "resize": RESIZE[trial.dataset],
        "parameters": getattr(model, "num_parameters", ""),
        "seconds": seconds,
        "version": version("wavescore-lite"),
    }
    rows, errors = [], {}
    for evaluation in evaluations or trial.evaluations:
        split, limit = ("test", trial.test) if evaluation == HELD_OUT else ("train", min(trial.test, trial.train))
        images = trial.images(split, limit)
        stream = FITTING if evaluation == OWN else SCORING
        for sigma in sigmas:
            quality = image_quality(model, images, sigma, trial.seed, stream=stream, basis=basis)
            rows.append(
                asdict(trial) | {"evaluation": evaluation, "sigma": sigma} | _summary(quality, basis) | constant
            )
            errors[evaluation, sigma] = quality["mse"]
    return Measurement(rows, errors)


def _summary(quality: dict[str, torch.Tensor], basis: WaveletBasis) -> dict[str, str]:
    errors = quality["mse"]
    summary = {"mse": f"{errors.mean():.7f}", "standard_error": f"{errors.std() / len(errors) ** 0.5:.7f}"}
    for name, digits in DIGITS.items():
        summary[name] = f"{quality[name].mean():.{digits}f}" if name in quality else ""
    for band, share in zip(basis.subbands, quality["subbands"].mean(dim=0), strict=True):
        summary[f"mse_{band.orientation}{band.side}"] = f"{share:.8f}"
    return summary


def compared(trial: Trial, key: str, rival: Trial, errors: Errors, others: Errors) -> list[dict[str, object]]:
    """What a trial saves over a rival, paired image by image: a row for each evaluation and noise level of both.

    Returns
    -------
    list of dict
        dataset, size, train, test; the names of the trial and of the rival, and the key in which they differ;
        evaluation; sigma; the share of the rival's error that is saved, negative if it is the worse one, with its
        standard error: see `error_saved`.
    """
    common = {name: getattr(trial, name) for name in ("dataset", "size", "train", "test")}
    common |= {"denoiser": trial.name, "key": key, "rival": rival.name}
    out = []
    for evaluation, sigma in errors.keys() & others.keys():
        saved, standard_error = error_saved(others[evaluation, sigma], errors[evaluation, sigma])
        measured = {"saved": f"{saved:.6f}", "standard_error": f"{standard_error:.6f}"}
        out.append(common | {"evaluation": evaluation, "sigma": sigma} | measured)
    return sorted(out, key=lambda row: (row["evaluation"] != HELD_OUT, row["evaluation"], row["sigma"]))


def run(trials: Iterable[Trial], path: str | Path) -> list[dict[str, str]]:
    """Add what the tables lack: rows of every trial to `path`, and to the one beside it those of all pairs of rivals.

    The table of pairs is named ``...-pairs.csv``. Errors of single images, which pairs are made from, are kept in a
    folder ``errors`` beside it; where one is missing, its trial is measured again. Tables are written whole after each
    trial and pair. Stopped at any moment, the same call goes on where it stopped: a trial's rows are all there, or
    none. Rows on weights that the package no longer has are dropped.

    Returns
    -------
    list of dict
        The rows of all trials in the table.

    Raises
    ------
    ValueError
        After all others were run, if trials were refused, for want of memory or of images: which, and why.
    """
    path, trials = Path(path), list(dict.fromkeys(trials))
    rows, refused = _without_old_networks(path, trials), []
    done = {trial_of(row) for row in rows}
    for trial in tqdm([trial for trial in trials if trial not in done], desc=str(path), disable=None):
        try:
            measured, errors = measure(trial)
        except (ValueError, MemoryError) as reason:
            refused.append(f"{trial.name}: {reason}")
            continue
        _keep(errors, path, trial)
        rows += measured
        write_rows(path, rows)
        done.add(trial)
    _pair([trial for trial in trials if trial in done], done, path)
    if refused:
        raise ValueError("\n".join([f"{len(refused)} trials were refused:", *refused]))
    return read_rows(path)


def _without_old_networks(path: Path, trials: Sequence[Trial]) -> list[dict[str, str]]:
    """Rows of the table but for networks that `trials` have with other weights; their pairs are dropped as well."""
    new = {trial.family: trial for trial in trials if trial.family in DESIGNS}
    rows = read_rows(path)
    old = {row["family"] for row in rows if trial_of(row) != new.get(row["family"], trial_of(row))}
    if old:
        write_rows(pairs_path(path), [row for row in read_rows(pairs_path(path)) if row["denoiser"] not in old])
    return [row for row in rows if row["family"] not in old]


def pairs_path(path: Path) -> Path:
    """Where the pairs of the table at `path` are.

    Examples
    --------
    >>> pairs_path(Path("results/mnist-32.csv")).name
    'mnist-32-pairs.csv'
    """
    return path.with_name(f"{path.stem}-pairs.csv")


def _pair(trials: Sequence[Trial], done: set[Trial], path: Path) -> None:
    wanted = {
        (t.name, key, r.name, str(t.train), str(t.test)): (t, key, r) for t in trials for key, r in rivals(t).items()
    }
    rows = read_rows(pairs_path(path))
    there = {tuple(row[name] for name in ("denoiser", "key", "rival", "train", "test")) for row in rows}
    missing = [(t, key, r) for label, (t, key, r) in wanted.items() if label not in there and r in done]
    for trial, key, rival in tqdm(missing, desc=str(pairs_path(path)), disable=None):
        rows += compared(trial, key, rival, _errors(path, trial), _errors(path, rival))
        write_rows(pairs_path(path), rows)


def _errors_path(path: Path, trial: Trial) -> Path:
    words = f"{trial.dataset}-{trial.size}-{trial.train}-{trial.test}-{trial.name}-{trial.weights}"
    return path.parent / "errors" / f"{re.sub('[^A-Za-z0-9.=]+', '-', words).strip('-')}.npz"


def _keep(errors: Errors, path: Path, trial: Trial) -> None:
    _errors_path(path, trial).parent.mkdir(exist_ok=True)
    arrays = {f"{evaluation}|{sigma}": values.numpy() for (evaluation, sigma), values in errors.items()}
    write(_errors_path(path, trial), {"kind": "errors", **asdict(trial)}, arrays)


def _errors(path: Path, trial: Trial) -> Errors:
    """Errors of single images, from their file or measured again."""
    if not _errors_path(path, trial).exists():
        _keep(measure(trial).errors, path, trial)
    out = {}
    for label, values in read(_errors_path(path, trial), "errors")[1].items():
        evaluation, _, sigma = label.partition("|")
        out[evaluation, float(sigma)] = torch.from_numpy(values)
    return out
