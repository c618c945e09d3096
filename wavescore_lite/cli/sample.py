"""`wavescore sample`."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

import wavescore_lite as ws

from .options import Dataset, check_file

if TYPE_CHECKING:
    import torch

FITTED = 20_000  # images, where there are as many
OPTIONS: dict[str, tuple[str, ...]] = {  # what each kind of model may be told besides
    "family": ("dataset", "size", "images", "degree", "radius", "fit", "bare"),
    "baseline": ("dataset", "size", "images"),
    "network": ("dataset", "size", "network-seed"),
    "file": (),
}


def sample(
    model: Annotated[
        str,
        typer.Argument(
            help="A family such as independent, band-tied or local; a baseline such as wiener; a network such as "
            "unet-small; or a file that save() wrote. The beginning of a name will do.",
            show_default=False,
        ),
    ],
    count: Annotated[int, typer.Option(help="How many samples.", min=1)] = 64,
    out: Annotated[Path, typer.Option(help="A picture of them, .png; or the array [n, height, width], .npy.")] = Path(
        "samples.png"
    ),
    dataset: Dataset = "auto",
    size: Annotated[int | None, typer.Option(help="Side of the images in pixels; 32 by default.")] = None,
    images: Annotated[
        int | None, typer.Option(help=f"Training images to fit, {FITTED:,} by default or all there are.", min=2)
    ] = None,
    degree: Annotated[int | None, typer.Option(help="Of a family's polynomials, 1 to 6; 3 by default.")] = None,
    radius: Annotated[int | None, typer.Option(help="Of the local family, 0 to 3; 1 by default.")] = None,
    fit: Annotated[str | None, typer.Option(help="Of a family: per-wavelet, which is the default, or joint.")] = None,
    bare: Annotated[bool, typer.Option("--bare", help="A family without bounds: the samples may run away.")] = False,
    network_seed: Annotated[int | None, typer.Option(help="Of a network's training; 0 by default.")] = None,
    seed: Annotated[int, typer.Option(help="Of all random numbers.", min=0)] = 0,
    steps: Annotated[int | None, typer.Option(help="Noise levels above 0; 50 by default.", min=1)] = None,
    solver: Annotated[str, typer.Option(help="heun or euler.")] = "heun",
    stochasticity: Annotated[
        float, typer.Option(help="From 0, the probability flow, to 1, the reverse diffusion.", min=0, max=1)
    ] = 1.0,
) -> None:
    """Draw samples from a score that is fitted now or was saved before, from a baseline, or from a trained network.

    Example: wavescore sample local --degree 2 --count 16 --out grid.png
    """
    from ..sampling import SOLVERS
    from ..support.checks import check_choice

    started = time.perf_counter()
    options = {"dataset": None if dataset == "auto" else dataset, "size": size, "images": images, "degree": degree}
    options |= {"radius": radius, "fit": fit, "bare": bare or None, "network-seed": network_seed}
    try:
        check_file(out, ".png", ".npy")
        check_choice("solver", solver, SOLVERS)
        denoiser, told = _denoiser(model, {name: given for name, given in options.items() if given is not None})
        levels = None if steps is None else _levels(denoiser, steps)
    except (ValueError, TypeError, OSError, MemoryError) as error:
        raise typer.BadParameter(str(error)) from error
    try:
        samples = ws.sample(denoiser, (count, *denoiser.shape), levels, stochasticity, seed, solver=solver)
        _write(cast("torch.Tensor", samples), out)
    except (ValueError, OSError) as error:
        typer.echo(f"{out} could not be written: {error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(f"{out} has {count:,} samples of {told}; seed {seed}, {time.perf_counter() - started:.1f} s")


def _denoiser(model: str, options: dict[str, Any]) -> tuple[Any, str]:
    """What a name or a path stands for, fitted, and what to call it."""
    from ..data import registry
    from ..denoisers import BASELINES
    from ..estimator import Estimator

    kind, name = _kind(model)
    if odd := [f"--{option}" for option in options if option not in OPTIONS[kind]]:
        known = ", ".join(f"--{option}" for option in OPTIONS[kind]) or "none of its kind"
        raise ValueError(f"{', '.join(odd)} was given for {model!r}, a {kind}; expected {known}")
    if kind == "file":
        saved = _class_of(name).load(name)
        called = f"{saved!r}, fitted on {saved.fingerprint}" if isinstance(saved, Estimator) else type(saved).__name__
        return saved, f"{called}, from {name}"
    size, dataset = options.pop("size", 32), ws.resolve_dataset(options.pop("dataset", "auto"))
    where = f"{dataset} at {size} x {size}"
    if kind == "network":
        trained_from = options.pop("network-seed", 0)
        network = ws.load_network(name, size, dataset, seed=trained_from)
        return network, f"{name}, trained on {where} from seed {trained_from}"
    count = options.pop("images", min(FITTED, registry.dataset(dataset).counts["train"]))
    unfitted, told = (BASELINES[name](), name) if kind == "baseline" else _score(name, size, options)
    train = ws.load_images(dataset, size, "train", count)
    return unfitted.fit(train), f"{told}, fitted on {count:,} images of {where}"


def _kind(model: str) -> tuple[str, str]:
    """Family, baseline, network or file; and its name in the registry, or its path."""
    from ..couplings import FAMILIES
    from ..denoisers import BASELINES
    from ..networks.designs import DESIGNS

    registries: dict[str, Iterable[str]] = {"family": FAMILIES, "baseline": BASELINES, "network": DESIGNS}
    known = {_spelt(name): (kind, name) for kind, names in registries.items() for name in names}
    given = _spelt(model)
    found = [given] if given in known else [name for name in known if given and name.startswith(given)]
    if len(found) == 1:
        return known[found[0]]
    if Path(model).is_file():
        return "file", model
    raise ValueError(f"model is {model!r}; expected one of {', '.join(known)}, or a file that save() wrote")


def _spelt(name: str) -> str:
    """As one types it: in small letters, with hyphens."""
    return name.lower().replace("_", "-").replace(" ", "-")


def _score(family: str, size: int, options: dict[str, Any]) -> tuple[Any, str]:
    """A score of a family, not fitted, and what to call it."""
    from ..study.candidates import FITS
    from ..study.families import couple
    from ..support.checks import check_choice

    bare, fit = options.pop("bare", False), check_choice("fit", options.pop("fit", "per-wavelet"), tuple(FITS))
    coupling = couple(family, **options)
    return FITS[fit](ws.WaveletBasis(size), coupling, bounded=not bare), f"{coupling!r}, {fit}{', bare' * bare}"


def _class_of(path: str) -> Any:
    """The class of the score or baseline that a file holds, from its header."""
    from ..denoisers import BASELINES
    from ..study.candidates import FITS
    from ..support.storage import kind_of

    classes: dict[str, Any] = {kind.__name__: kind for kind in [*FITS.values(), *BASELINES.values()]}
    try:
        return classes[kind_of(path)]
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path} holds no score and no baseline, or is damaged; expected what save() wrote") from error


def _levels(denoiser: Any, steps: int) -> torch.Tensor:
    """As many noise levels as steps, of a denoiser that answers for any within a range."""
    from ..sampling import levels_for

    if only := denoiser.fitted_sigmas:
        raise ValueError(f"steps is {steps}, and the score answers at sigma {list(only)} alone; expected no --steps")
    return levels_for(denoiser, steps)


def _write(samples: torch.Tensor, out: Path) -> None:
    """An array, or a picture as near to a square as their number allows; whole or not at all."""
    import matplotlib
    import numpy as np
    from torch.nn.functional import pad

    from ..support.storage import whole_file

    if out.suffix.lower() == ".npy":
        with whole_file(out) as file:
            np.save(file, samples.numpy())
        return
    matplotlib.use("agg")
    ws.plots.use_style()
    columns = math.ceil(math.sqrt(len(samples)))
    whole = pad(samples, (0, 0, 0, 0, 0, -len(samples) % columns), value=1.0)  # with white images
    with whole_file(out) as file:
        ws.plots.image_grid(whole.split(columns)).savefig(file, format="png", dpi=150)
