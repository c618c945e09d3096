"""The command line: `wavescore demo`, `data`, `reproduce`, `train`, `bench` and `grade`."""

from __future__ import annotations

import os
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import matplotlib
import torch
import typer
from tabulate import tabulate

from . import benchmarks, plots
from .bases.wavelets import WaveletBasis
from .couplings import independent
from .course import gradebook, grading
from .course.sandbox import Limits
from .data import loading as datasets
from .denoisers import MeanImage, Wiener
from .metrics import compare, error_table
from .networks import training
from .networks.backbones import DESIGNS
from .networks.files import weights_file
from .networks.recipes import Recipe
from .noise import standard_normal
from .scores import WaveletScore
from .study import experiments, trials
from .study.trials import SIGMAS
from .support.checks import check_device
from .support.storage import read_rows, whole_file

app = typer.Typer(
    help="Analytic diffusion scores in a wavelet basis. Start with: wavescore demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


class Dataset(StrEnum):
    """Where images come from."""

    auto = "auto"
    mnist = "mnist"
    strokes = "strokes"


class Device(StrEnum):
    """Where fits and denoising run."""

    cpu = "cpu"
    cuda = "cuda"


@app.callback()
def main() -> None:
    """Analytic diffusion scores in a wavelet basis. Start with: wavescore demo."""


@app.command()
def demo(
    dataset: Annotated[Dataset, typer.Option(help="auto: MNIST where it is found or can be fetched.")] = Dataset.auto,
    size: Annotated[int, typer.Option(help="Side of the images in pixels, a power of two.")] = 32,
    images: Annotated[int, typer.Option(help="Training images; a tenth as many are held out.", min=10)] = 10_000,
    degree: Annotated[int, typer.Option(help="Degree of the polynomials, 1 to 6.")] = 3,
    output: Annotated[Path, typer.Option(help="Where the picture goes, a .png file.")] = Path("demo.png"),
) -> None:
    """Fit an analytic wavelet score, print what it does to held-out images, and draw it.

    Example: wavescore demo --size 64 --degree 2 --output digits.png
    """
    started = time.perf_counter()
    try:
        _check_output(output, ".png")
        basis, coupling = WaveletBasis(size), independent(degree)
        name = datasets.resolve_dataset(dataset)
        train = datasets.load_images(name, size, "train", limit=images)
        test = datasets.load_images(name, size, "test", limit=max(images // 10, 6))
    except (ValueError, TypeError, OSError) as error:
        raise typer.BadParameter(str(error)) from error
    denoisers = {
        "mean image": MeanImage().fit(train),
        "full linear (Wiener)": Wiener().fit(train),
        f"independent wavelets, D = {degree}": WaveletScore(basis, coupling).fit(train),
    }
    typer.echo(
        f"{name} at {size} x {size}: fitted on {len(train):,} training images, noise integrated out;\n"
        f"mean squared error on {len(test):,} held-out images, clipped to [0, 1], with its standard error\n"
    )
    typer.echo(error_table(compare(denoisers, test, SIGMAS), SIGMAS))
    try:
        _draw(denoisers, test[:6], sigma=1.0, output=output)
    except OSError as error:
        raise typer.BadParameter(f"{output} could not be written: {error}") from error
    typer.echo(f"\n{output} shows clean, noisy and denoised images ({time.perf_counter() - started:.1f} s in all)")


@app.command()
def data(
    root: Annotated[Path | None, typer.Option(help="Look for MNIST/raw in this folder alone.")] = None,
) -> None:
    """Say where MNIST was looked for and found, and how to get it.

    MNIST is read from --root, else from $WAVESCORE_DATA, else from the cache folder, in torchvision's layout.
    """
    places = datasets.where(root)
    for name, folder, state in places:
        typer.echo(f"{name:>16}  {folder}  {state}")
    if places[0][2] == "found":
        typer.echo("\nMNIST is used: load_images('auto') reads it.")
    else:
        typer.echo(
            "\nMNIST is not there. Any of these will do:\n"
            "  - on a machine with network: python -c \"import wavescore_lite as ws; ws.load_images('mnist')\"\n"
            "  - put the four files of MNIST (gzipped or not) in FOLDER/MNIST/raw and set WAVESCORE_DATA=FOLDER\n"
            "  - do without: load_images('strokes') draws its own digits, and 'auto' falls back to them"
        )


@app.command()
def reproduce(
    figure: Annotated[
        list[str] | None,
        typer.Option(help="One that --list names, or the paper's: 5a to 5d, 6a, 6b. May be given again. Default: all."),
    ] = None,
    dataset: Annotated[Dataset, typer.Option(help="auto: MNIST where it is found or can be fetched.")] = Dataset.auto,
    size: Annotated[int, typer.Option(help="Side of the images in pixels, a power of two.")] = 32,
    train: Annotated[int, typer.Option(help="Training images.", min=2)] = 60_000,
    test: Annotated[int, typer.Option(help="Held-out images.", min=2)] = 10_000,
    output: Annotated[Path, typer.Option(help="Folder of the tables, DATASET-SIZE.csv and -pairs.csv.")] = Path(
        "results"
    ),
    only_list: Annotated[bool, typer.Option("--list", help="Say what there is to do, and do nothing.")] = False,
) -> None:
    """Measure every family of the paper's figures; what the table holds already is not measured again.

    Stop it at any moment: the table keeps whole trials only, and the same command goes on where it stopped.

    Example: wavescore reproduce --figure independent --size 32
    """
    try:
        _check_folder(output)
        name = str(datasets.resolve_dataset(dataset))
        plan = trials.figures(name, WaveletBasis(size).size, train, test)
        wanted = _chosen(figure, plan, size)
        for split, limit in (("train", train), ("test", test)):
            datasets.load_images(name, size, split, limit)
    except (ValueError, TypeError, OSError) as error:
        raise typer.BadParameter(str(error)) from error
    path = output / f"{name}-{size}.csv"
    done = {trials.trial_of(row) for row in read_rows(path)}
    for key in wanted:
        typer.echo(f"{key:>12}  {len(plan[key]):3} trials, {sum(t in done for t in plan[key])} of them in {path}")
    if only_list:
        for trial in trials.left_out(plan):
            gibibytes = trial.model().memory() / 2**30
            typer.echo(f"    left out  {trial.name}: P = {len(trial.model().features):,}, {gibibytes:.0f} GiB")
        return
    try:
        experiments.run([trial for key in wanted for trial in plan[key]], path)
    except ValueError as error:
        typer.echo(f"\n{error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(f"\n{path} is complete for {', '.join(wanted)}")


@app.command()
def train(
    network: Annotated[str, typer.Argument(help=f"One of {', '.join(DESIGNS)}.")],
    dataset: Annotated[Dataset, typer.Option(help="auto: MNIST where it is found or can be fetched.")] = Dataset.auto,
    size: Annotated[int, typer.Option(help="Side of the images in pixels, a power of two.")] = 32,
    images: Annotated[
        int | None, typer.Option(help="Training images, all 60,000 by default; some are held out for the log.", min=10)
    ] = None,
    steps: Annotated[int, typer.Option(help="Batches in all.", min=1)] = 20_000,
    batch: Annotated[int, typer.Option(help="Images in a batch.", min=1)] = 128,
    learning_rate: Annotated[float, typer.Option(help="At its highest.")] = 2e-3,
    seed: Annotated[int, typer.Option(help="Of the first weights and of every batch.", min=0)] = 0,
    log_every: Annotated[int, typer.Option(help="Steps between lines of the log, and checkpoints.", min=1)] = 500,
    bfloat16: Annotated[bool, typer.Option("--bfloat16", help="Train in 16 bits, where that is faster.")] = False,
    device: Annotated[Device, typer.Option(help="Where the network is trained.")] = Device.cpu,
    output: Annotated[Path | None, typer.Option(help="Folder, by default runs/NETWORK-DATASET-SIZE.")] = None,
) -> None:
    """Train a denoiser to compare with: a CNN or a U-Net, from no test image.

    Stop it at any moment: the same command goes on from the last checkpoint. The folder gets a log, checkpoint.npz and,
    at the end, the weights with their line of the table of checksums.

    Example: wavescore train unet-small --size 32 --steps 20000
    """
    try:
        check_device(device.value)
        name = str(datasets.resolve_dataset(dataset))
        recipe = Recipe(network, name, size, images, steps, batch, learning_rate, seed, log_every, bfloat16)
        folder = output or Path("runs") / f"{network}-{name}-{size}"
        line = training.train(recipe, datasets.load_images(name, size, "train", images), folder, device.value)
    except (ValueError, TypeError, OSError) as error:
        raise typer.BadParameter(str(error)) from error
    except RuntimeError as error:
        typer.echo(f"\n{error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(f"\n{folder / weights_file(network, size, name)} is trained; its line of the table of checksums:")
    typer.echo(",".join(line.values()))


@app.command()
def bench(
    quick: Annotated[bool, typer.Option("--quick", help="500 images of 16 x 16, each case once: do all run?")] = False,
    images: Annotated[
        int | None, typer.Option(help="Training images; all 60,000 by default.", min=benchmarks.FEWEST_IMAGES)
    ] = None,
    dataset: Annotated[Dataset, typer.Option(help="auto: MNIST where it is found or can be fetched.")] = Dataset.auto,
    device: Annotated[Device, typer.Option(help="Where fits, transforms and denoising run.")] = Device.cpu,
    output: Annotated[Path, typer.Option(help="Folder for bench.csv and bench.png.")] = Path("benchmarks"),
) -> None:
    """Measure what the package costs beside the bare arithmetic of the same work; some ten minutes on two cores.

    Example: wavescore bench --quick --output .
    """
    try:
        _check_folder(output)
        options = {"images": 500, "size": 16, "turns": 1, "seconds": 0.0} if quick else {}
        options |= {"images": images} if images else {}
        setting = benchmarks.Setting(datasets.resolve_dataset(dataset), device=check_device(device.value), **options)
        setting.load()
    except (ValueError, TypeError, OSError) as error:
        raise typer.BadParameter(str(error)) from error
    typer.echo(f"{benchmarks.heading(setting)}\n")
    rows = benchmarks.measure(setting)
    typer.echo(benchmarks.table(rows))
    typer.echo(f"\n{benchmarks.verdict(rows)}")
    try:
        benchmarks.write(rows, benchmarks.heading(setting), output)
    except OSError as error:
        raise typer.BadParameter(f"{output} could not be written to: {error}") from error


@app.command()
def grade(
    files: Annotated[list[Path], typer.Argument(help="Notebooks that students handed in.", show_default=False)],
    source: Annotated[Path, typer.Option(help="Folder of the masters.")] = Path("assignments/source"),
    output: Annotated[Path, typer.Option(help="The table, .csv; or .json of one file, for Gradescope.")] = Path(
        "grades.csv"
    ),
    feedback: Annotated[Path | None, typer.Option(help="Folder for a text for each student.")] = None,
    seconds: Annotated[float, typer.Option(help="For a whole submission.")] = Limits.seconds,
    cell_seconds: Annotated[float, typer.Option(help="For one cell.")] = Limits.cell_seconds,
    memory: Annotated[float, typer.Option(help="In GiB.")] = Limits.memory,
    inside: Annotated[str, typer.Option(help="Command to run each within: a sandbox. {folder} is its folder.")] = "",
) -> None:
    """Grade problem sets: run each notebook with the tests of its master, and write the points into a table.

    Students' code runs as you: see the book's page for instructors on how to contain it. Stopped at any moment, the
    same command goes on: files in the table are not run again, unless they, the masters or the limits changed.

    Example: wavescore grade submissions/*.ipynb --feedback feedback
    """
    try:
        limits = Limits(seconds, cell_seconds, memory, inside)
        if missing := [str(path) for path in files if not path.is_file()]:
            raise ValueError(f"there is no file {', '.join(missing)}; expected notebooks")
        _check_output(output, ".csv", ".json")
        if output.suffix.lower() == ".json":
            _grade_one(files, source, output, limits)
            return
        rows = gradebook.grade_all(files, source, output, feedback, limits)
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error)) from error
    shown = [{key: row[key] for key in row if key not in ("file", "checksum")} for row in rows]
    typer.echo(tabulate(shown, headers="keys", disable_numparse=True, maxcolwidths=60))
    typer.echo(f"\n{output} has these {len(rows)} submissions")


def _grade_one(files: list[Path], source: Path, output: Path, limits: Limits) -> None:
    if len(files) != 1:
        raise ValueError(f"{len(files)} files were given; expected one of them for {output}")
    graded = grading.grade(files[0], grading.load_masters(source), limits)
    with whole_file(output) as file:
        file.write(gradebook.gradescope(graded).encode())
    typer.echo(f"{output} has {graded.total:g} points of {graded.maximum:g}")


def _chosen(figure: list[str] | None, plan: dict, size: int) -> list[str]:
    """Keys of the plan that the options name, all without any."""
    panels = {panel: key for panel, (key, at) in trials.PANELS.items() if at == size}
    chosen = {panels.get(name, name) for name in figure or plan}
    if unknown := sorted(chosen - set(plan)):
        raise ValueError(
            f"figure is {', '.join(unknown)}; expected one of {', '.join([*plan, *panels])} at size {size}"
        )
    return [key for key in plan if key in chosen]


def _check_folder(output: Path) -> None:
    if not output.is_dir() or not os.access(output, os.W_OK | os.X_OK):
        raise ValueError(f"output is {output}; expected a folder that is there and can be written to")


def _check_output(output: Path, *suffixes: str) -> None:
    if output.suffix.lower() not in suffixes or output.is_dir() or not os.access(output.parent, os.W_OK | os.X_OK):
        kinds = " or ".join(suffixes)
        raise ValueError(f"output is {output}; expected a {kinds} file in a folder that is there and can be written to")


def _draw(denoisers: dict, clean: torch.Tensor, sigma: float, output: Path) -> None:
    matplotlib.use("agg")
    plots.use_style()
    noisy = clean + sigma * standard_normal(0, len(clean), tuple(clean.shape[1:]), seed=0)
    rows = {"clean": clean, f"sigma = {sigma:g}": noisy}
    rows |= {name.split(",")[0]: model.denoise(noisy, sigma) for name, model in denoisers.items()}
    figure = plots.image_grid(list(rows.values()), row_titles=list(rows))
    with whole_file(output) as file:
        figure.savefig(file, format="png", dpi=150)
