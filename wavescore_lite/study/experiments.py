"""Numbers as tidy rows: how far off each trial is, and by how much it is better than its rivals, image by image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import torch

from ..bases.wavelets import WaveletBasis
from ..data.registry import dataset
from ..metrics import error_saved, image_quality
from ..noise import FITTING, SCORING
from ..support.locks import locked
from ..support.progress import progress
from ..support.storage import clear_parts, file_name, read_rows, recall, write, write_rows
from .candidates import HELD_OUT, OWN
from .tables import Row, Table, pairs_path, places, read_table, whole_pair
from .trials import IMAGES, Trial, columns, rivals

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
        "version": release(),
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
    common = _common(trial, key, rival)
    out = []
    for evaluation, sigma in errors.keys() & others.keys():
        saved, standard_error = error_saved(others[evaluation, sigma], errors[evaluation, sigma])
        measured = {"saved": f"{saved:.6f}", "standard_error": f"{standard_error:.6f}"}
        out.append(common | {"evaluation": evaluation, "sigma": sigma} | measured)
    return sorted(out, key=lambda row: (row["evaluation"] != HELD_OUT, row["evaluation"], row["sigma"]))


def release() -> str:
    """The version of the package, as a row has it."""
    return version("wavescore-lite")


def run(trials: Iterable[Trial], path: str | Path) -> list[dict[str, str]]:
    """Add what the tables lack: rows of every trial to `path`, and to the table beside it pairs of all that is there.

    The table of pairs is named ``...-pairs.csv``. Errors of single images, which pairs are made from, are kept in a
    folder ``errors`` beside it; where a file is missing, its trial is measured again. Tables are written whole after
    each trial and pair. Stopped at any moment, the same call goes on where it stopped: a trial's rows are all there, or
    none. Trials whose rows are not whole, see `tables.read_table`, or of another version of the package, are measured
    again. Rows of a network with other weights than in `trials` are dropped, as are rows that are of no trial on these
    images, and pairs that are not whole or of what is measured anew.

    Returns
    -------
    list of dict
        The rows of the table.

    Raises
    ------
    ValueError
        If the table is about other images or is no such table. After all others were run, if trials were refused, for
        want of memory or of images: which, and why.
    TimeoutError
        If another run is at work on the table.
    """
    path, trials = Path(path), list(dict.fromkeys(trials))
    with locked(path):
        _clear(path, trials)
        refused = _measure_missing(path, trials)
        _pair(path)
        if refused:
            raise ValueError("\n".join([f"{len(refused)} trials were refused:", *refused]))
        return read_rows(path)


def table_for(path: Path, trials: Iterable[Trial]) -> Table:
    """The table at `path` as far as it is about the images of `trials`; what is not becomes stray.

    Raises
    ------
    ValueError
        If trials are about several sets of images, or the table, all of it, is about another one.
    """
    about, table = {_about(trial) for trial in trials}, read_table(path, release())
    there = {_about(trial) for trial in table.rows}
    if len(about) > 1 or (there and about and not there & about):
        words = " and ".join(f"{train:,} and {test:,} images of {name} at {m} x {m}" for name, m, train, test in there)
        raise ValueError(f"{path} is about {words or 'nothing yet'}; expected one set of images, or another folder")
    rows = {trial: own for trial, own in table.rows.items() if not about or _about(trial) in about}
    strays = [f"{trial.name} is of other images" for trial in table.rows if trial not in rows]
    return Table(rows, {trial: why for trial, why in table.faults.items() if trial in rows}, table.strays + strays)


def _measure_missing(path: Path, trials: Sequence[Trial]) -> list[str]:
    """Measure all trials that are not whole in the table; say which were refused, and why."""
    table, refused = table_for(path, trials), []
    if table.strays:
        _replace(path, read_rows(path), [row for rows in table.rows.values() for row in rows])
    missing = [trial for trial in trials if trial not in table.rows or trial in table.faults]
    for trial in progress(missing, desc=str(path)):
        try:
            measured, errors = measure(trial)
        except (ValueError, MemoryError) as reason:
            refused.append(f"{trial.name}: {reason}")
            continue
        _keep(errors, path, trial)
        pairs = read_rows(pairs_path(path))
        _replace(pairs_path(path), pairs, [p for p in pairs if trial.name not in (p["denoiser"], p["rival"])])
        write_rows(path, [*_others(path, trials, trial), *measured])
    return refused


def _others(path: Path, trials: Iterable[Trial], new: Trial) -> list[Row]:
    """Rows of the table but for those of `new`, and of those with the name of another of `trials`: other weights."""
    named = {trial.name: trial for trial in trials}
    table = table_for(path, trials)
    return [row for t, rows in table.rows.items() if t != new and named.get(t.name, t) == t for row in rows]


def _about(trial: Trial) -> tuple[str, int, int, int]:
    return trial.dataset, trial.size, trial.train, trial.test


def _clear(path: Path, trials: Iterable[Trial]) -> None:
    """Remove what killed runs left half written: whoever writes these files holds the lock."""
    for table in (path, pairs_path(path)):
        clear_parts(table.parent, f"{table.name}.")
    for name, size, *_ in {_about(trial) for trial in trials}:
        clear_parts(path.parent / "errors", f"{name}-{size}-")


def _replace(path: Path, rows: Sequence[Row], remaining: Sequence[Row]) -> None:
    """Write the table anew if it loses rows."""
    if remaining and len(remaining) < len(rows):
        write_rows(path, remaining)
    elif not remaining:
        path.unlink(missing_ok=True)


def _pair(path: Path) -> None:
    """Add the pairs that are missing, or not whole, among all whole trials of the table."""
    table, found = read_table(path, release()), read_rows(pairs_path(path))
    trials = [trial for trial in table.rows if trial not in table.faults]
    wanted = [(t, key, r) for t in trials for key, r in rivals(t).items() if r in table.rows and r not in table.faults]
    by_name: dict[tuple[str, ...], list[Row]] = {}
    for row in found:
        by_name.setdefault((row["denoiser"], row["key"], row["rival"]), []).append(row)
    missing = []
    for trial, key, rival in wanted:
        there = by_name.get((trial.name, key, rival.name), [])
        common = set(places(trial)) & set(places(rival))
        if not whole_pair(there, _common(trial, key, rival), common):
            by_name.pop((trial.name, key, rival.name), None)
            missing.append((trial, key, rival))
    rows: list[Mapping[str, object]] = [row for own in by_name.values() for row in own]
    for trial, key, rival in progress(missing, desc=str(pairs_path(path))):
        rows += compared(trial, key, rival, _errors(path, trial), _errors(path, rival))
        write_rows(pairs_path(path), rows)


def _common(trial: Trial, key: str, rival: Trial) -> dict[str, object]:
    """The first columns of a pair."""
    images = {name: getattr(trial, name) for name in IMAGES}
    return images | {"denoiser": trial.name, "key": key, "rival": rival.name}


def _errors_path(path: Path, trial: Trial) -> Path:
    words = f"{trial.dataset}-{trial.size}-{trial.train}-{trial.test}-{trial.name}-{columns(trial)['weights']}"
    return path.parent / "errors" / f"{file_name(words)}.safetensors"


def _keep(errors: Errors, path: Path, trial: Trial) -> None:
    _errors_path(path, trial).parent.mkdir(exist_ok=True)
    arrays = {f"{evaluation}|{sigma}": values.numpy() for (evaluation, sigma), values in errors.items()}
    write(_errors_path(path, trial), {"kind": "errors", **columns(trial)}, arrays)


def _errors(path: Path, trial: Trial) -> Errors:
    """Errors of single images, from their file, or measured again if it is missing, damaged or of another trial."""
    kept = recall(_errors_path(path, trial), "errors", columns(trial))
    if kept is None:
        errors = measure(trial).errors
        _keep(errors, path, trial)
        return errors
    labels = {label: label.partition("|") for label in kept[1]}
    return {(labels[label][0], float(labels[label][2])): torch.from_numpy(array) for label, array in kept[1].items()}
