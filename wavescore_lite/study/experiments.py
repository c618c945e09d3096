"""Numbers as tidy rows: how far off each trial is, and by how much it is better than its rivals, image by image."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import torch
from tqdm import tqdm

from ..bases.wavelets import WaveletBasis
from ..data.registry import dataset
from ..metrics import error_saved, image_quality
from ..noise import FITTING, SCORING
from ..support.storage import read, read_rows, write, write_rows
from .candidates import HELD_OUT, OWN
from .trials import Trial, columns, rivals, trial_of

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
        included, or the training of the network if its log is there; the version of the package.

    Examples
    --------
    >>> from .candidates import Baseline
    >>> rows, errors = measure(Trial("strokes", 8, 100, 50, Baseline("Wiener")), sigmas=[1.0])
    >>> len(rows), errors["held-out", 1.0].shape
    (1, torch.Size([50]))
    """
    sigmas = trial.sigmas if sigmas is None else sigmas
    basis = WaveletBasis(trial.size)
    model, seconds = trial.fitted(sigmas)
    constant = {
        "resize": dataset(trial.dataset).sizing,
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
                columns(trial) | {"evaluation": evaluation, "sigma": sigma} | _summary(quality, basis) | constant
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
        standard error: see `metrics.error_saved`.
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
    """Add what the tables lack: rows of every trial to `path`, and to the table beside it pairs of all that is there.

    The table of pairs is named ``...-pairs.csv``. Errors of single images, which pairs are made from, are kept in a
    folder ``errors`` beside it; where a file is missing, its trial is measured again. Tables are written whole after
    each trial and pair. Stopped at any moment, the same call goes on where it stopped: a trial's rows are all there, or
    none. Rows of a network with other weights than in `trials` are dropped, as are pairs of what is measured anew.

    Returns
    -------
    list of dict
        The rows of the table.

    Raises
    ------
    ValueError
        If the table is about other numbers of images. After all others were run, if trials were refused, for want of
        memory or of images: which, and why.
    """
    path, trials = Path(path), list(dict.fromkeys(trials))
    _check_counts(path, trials)
    done, refused = {trial_of(row) for row in _current(path, trials)}, []
    for trial in tqdm([trial for trial in trials if trial not in done], desc=str(path), disable=None):
        try:
            measured, errors = measure(trial)
        except (ValueError, MemoryError) as reason:
            refused.append(f"{trial.name}: {reason}")
            continue
        _keep(errors, path, trial)
        pairs = read_rows(pairs_path(path))
        _replace(pairs_path(path), pairs, [p for p in pairs if trial.name not in (p["denoiser"], p["rival"])])
        write_rows(path, [*_current(path, trials), *measured])
    _pair(path)
    if refused:
        raise ValueError("\n".join([f"{len(refused)} trials were refused:", *refused]))
    return read_rows(path)


def _current(path: Path, trials: Iterable[Trial]) -> list[dict[str, str]]:
    """Rows of the table, but for those that have the name of one of these trials and are of another: other weights."""
    named = {trial.name: trial for trial in trials}
    found = [(trial_of(row), row) for row in read_rows(path)]
    return [row for trial, row in found if named.get(trial.name, trial) == trial]


def _check_counts(path: Path, trials: Sequence[Trial]) -> None:
    counts = {(int(row["train"]), int(row["test"])) for row in read_rows(path)}
    given = {(trial.train, trial.test) for trial in trials}
    if len(counts | given) > 1:
        there = " and ".join(f"{train:,} and {test:,}" for train, test in sorted(counts or given))
        raise ValueError(f"{path} is about {there} images; expected the same numbers of them, or another folder")


def pairs_path(path: Path) -> Path:
    """Where the pairs of the table at `path` are.

    Examples
    --------
    >>> pairs_path(Path("results/mnist-32.csv")).name
    'mnist-32-pairs.csv'
    """
    return path.with_name(f"{path.stem}-pairs.csv")


def _replace(path: Path, rows: Sequence[dict[str, str]], remaining: Sequence[dict[str, str]]) -> None:
    """Write the table anew if it loses rows."""
    if remaining and len(remaining) < len(rows):
        write_rows(path, remaining)
    elif not remaining:
        path.unlink(missing_ok=True)


def _pair(path: Path) -> None:
    """Add the pairs that are missing among all trials of the table."""
    trials = list(dict.fromkeys(trial_of(row) for row in read_rows(path)))
    rows: list[Mapping[str, object]] = [*read_rows(pairs_path(path))]
    there = {(row["denoiser"], row["key"], row["rival"]) for row in rows}
    wanted = [(trial, key, rival) for trial in trials for key, rival in rivals(trial).items() if rival in trials]
    missing = [(t, key, r) for t, key, r in wanted if (t.name, key, r.name) not in there]
    for trial, key, rival in tqdm(missing, desc=str(pairs_path(path)), disable=None):
        rows += compared(trial, key, rival, _errors(path, trial), _errors(path, rival))
        write_rows(pairs_path(path), rows)


def _errors_path(path: Path, trial: Trial) -> Path:
    words = f"{trial.dataset}-{trial.size}-{trial.train}-{trial.test}-{trial.name}-{columns(trial)['weights']}"
    return path.parent / "errors" / f"{re.sub('[^A-Za-z0-9.=+]+', '-', words).strip('-')}.npz"


def _keep(errors: Errors, path: Path, trial: Trial) -> None:
    _errors_path(path, trial).parent.mkdir(exist_ok=True)
    arrays = {f"{evaluation}|{sigma}": values.numpy() for (evaluation, sigma), values in errors.items()}
    write(_errors_path(path, trial), {"kind": "errors", **columns(trial)}, arrays)


def _errors(path: Path, trial: Trial) -> Errors:
    """Errors of single images, from their file, or measured again if it is missing, damaged or of another trial."""
    try:
        header, arrays = read(_errors_path(path, trial), "errors")
    except (FileNotFoundError, ValueError):
        header, arrays = {}, {}
    if not columns(trial).items() <= header.items():
        _keep(measure(trial).errors, path, trial)
        _, arrays = read(_errors_path(path, trial), "errors")
    labels = {label: label.partition("|") for label in arrays}
    return {(labels[label][0], float(labels[label][2])): torch.from_numpy(arrays[label]) for label in arrays}
