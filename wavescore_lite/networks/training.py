"""How the networks are trained: denoising in mean square at all noise levels, resumable at any moment.

A step depends on the weights, the seed and its own number alone, see `recipes`: so a checkpoint holds all there is to
know. On a CPU, with as many threads, a run that was killed and resumed ends in the same weights, bit for bit, as one
that was not.

One core trains ``unet-medium`` on 20,000 batches of 64 images of 32 x 32 in seventy minutes, in fifty with
``--bfloat16`` where it can compute in that. A laptop with four cores trains it overnight on 100,000 batches of 128
(``wavescore train unet-medium --steps 100000``); what suits a GPU is ``--device cuda --bfloat16 --batch 512``. On a
machine that has other work, one thread (``OMP_NUM_THREADS=1``) for each of several networks is faster than several
threads for one: small convolutions wait for the slowest.
"""

from __future__ import annotations

import copy
import math
import time
from dataclasses import asdict
from pathlib import Path

import torch
from tqdm import tqdm

from ..metrics import denoising_mse
from ..support.checks import check_device, check_images
from ..support.progress import progress
from ..support.storage import image_checksum, read, read_rows, write, write_rows
from .files import log_file, save_network
from .networks import Network, preconditioning
from .recipes import Recipe, averaging, batch, learning_rate, split

CHECKPOINT = "checkpoint.safetensors"
LOGGED_SIGMAS = (0.25, 0.5, 1.0, 2.0, 3.0, 4.0)
LARGEST_GRADIENT = 1.0
MOMENTS = ("exp_avg", "exp_avg_sq")  # of the gradient, as AdamW names them
BATCH = 8192  # images whose pixels are summed at a time


def denoising_loss(network: Network, clean: torch.Tensor, sigma: torch.Tensor, noisy: torch.Tensor) -> torch.Tensor:
    """Squared error of D over c_out^2, the mean over images and pixels (Karras et al., 2022, eq. 8).

    It is the squared error of the trained part F, whose target has unit variance at every sigma.
    """
    c_out = preconditioning(sigma, network.sigma_data)[1]
    return ((network.estimate(noisy, sigma) - clean) / c_out[:, None, None]).square().mean()


class Run:
    """A training in progress: weights, their moving average, the optimizer (AdamW), and the steps done.

    Parameters
    ----------
    recipe : Recipe
    images : tensor [n, size, size], float32
        To train on.
    device : {"cpu", "cuda"}
    """

    def __init__(self, recipe: Recipe, images: torch.Tensor, device: str = "cpu") -> None:
        self.recipe, self.images, self.step = recipe, images.to(device), 0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            self.network = Network(recipe.network, recipe.size, *_mean_and_spread(images), recipe.noise).to(device)
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), foreach=True)
        self._identity = asdict(recipe) | {"checksum of the images": f"{image_checksum(images):016x}"}

    def advance(self) -> torch.Tensor:
        """Take one step and return its loss, a tensor of no dimension."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, self.recipe)
        drawn = batch(self.images, self.step, self.recipe)
        with torch.autocast(self.images.device.type, torch.bfloat16, enabled=self.recipe.bfloat16):
            loss = denoising_loss(self.network, *drawn)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), LARGEST_GRADIENT)
        self.optimizer.step()
        decay = averaging(self.step)
        for mean, weights in zip(self.average.parameters(), self.network.parameters(), strict=True):
            mean.lerp_(weights.detach(), 1 - decay)
        self.step += 1
        return loss.detach()

    def save(self, path: Path) -> None:
        """Write a checkpoint, all of it or nothing."""
        moments = {name: self.optimizer.state[weights] for name, weights in self.network.named_parameters()}
        parts = {"weights": self.network.state_dict(), "average": self.average.state_dict()}
        parts |= {key: {name: state[key] for name, state in moments.items()} for key in MOMENTS}
        arrays = {f"{part}.{name}": value.cpu().numpy() for part in parts for name, value in parts[part].items()}
        write(path, {"kind": "training", "step": self.step, **self._identity}, arrays)

    def restore(self, path: Path) -> None:
        """Go on from a checkpoint of the same recipe and images; any other is refused with a ValueError."""
        header, arrays = read(path, "training")
        differing = [
            f"{key} {header.get(key)}, not {value}" for key, value in self._identity.items() if header.get(key) != value
        ]
        if differing:
            raise ValueError(f"{path} is of a run with {'; '.join(differing)}; expected the same, or another folder")
        self.step = header["step"]
        parts: dict[str, dict[str, torch.Tensor]] = {part: {} for part in ("weights", "average", *MOMENTS)}
        for key, values in arrays.items():
            part, _, name = key.partition(".")
            parts[part][name] = torch.from_numpy(values)
        self.network.load_state_dict(parts["weights"])
        self.average.load_state_dict(parts["average"])
        state = {
            index: {"step": torch.tensor(float(self.step)), **{key: parts[key][name] for key in MOMENTS}}
            for index, (name, _) in enumerate(self.network.named_parameters())
        }
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": state})


def train(recipe: Recipe, images: torch.Tensor, folder: str | Path, device: str = "cpu") -> dict[str, str]:
    """Train a network, or go on where a run in the same folder stopped.

    Parameters
    ----------
    recipe : Recipe
    images : tensor [n, size, size] in [0, 1], float32 or float64
        The training images; `split` holds some out for the log.
    folder : path
        Where everything goes; made if it is not there. `log_file` gets a line every `recipe.log_every` steps: step,
        seconds, learning_rate, training_loss (the mean since the line before), and the mean squared error of the
        averaged weights on the images held out, as `denoising_mse` measures it, at each of LOGGED_SIGMAS. Then
        ``checkpoint.safetensors`` is written. At the end come the averaged weights, and ``table.csv`` with their
        checksum.
    device : {"cpu", "cuda"}

    Returns
    -------
    dict
        The line of ``table.csv``; ``load_network(..., folder=folder)`` loads the network.

    Raises
    ------
    TypeError, ValueError
        For other images or another device, or if the folder holds a run with other options.
    RuntimeError
        If the loss is no longer finite.
    """
    fitted, held_out = split(check_images(images, recipe.size, (0.0, 1.0)).float())
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    run, checkpoint = Run(recipe, fitted, check_device(device)), folder / CHECKPOINT
    log_path = folder / log_file(recipe.network, recipe.size, recipe.dataset, recipe.seed)
    if checkpoint.exists():
        run.restore(checkpoint)
    log = [row for row in read_rows(log_path) if int(row["step"]) <= run.step]
    started = time.perf_counter() - (float(log[-1]["seconds"]) if log else 0.0)
    with progress(desc=recipe.network, total=recipe.steps, initial=run.step) as bar:
        while run.step < recipe.steps:
            measured = _advance(run, held_out, bar)
            log.append({"step": str(run.step), "seconds": f"{time.perf_counter() - started:.1f}", **measured})
            write_rows(log_path, log)
            run.save(checkpoint)
    command = recipe.command if device == "cpu" else f"{recipe.command} --device {device}"
    return save_network(run.average, folder, recipe.dataset, command, recipe.seed)


def _advance(run: Run, held_out: torch.Tensor, bar: tqdm[None]) -> dict[str, str]:
    """Take the steps up to the next line of the log, and say what it holds."""
    recipe = run.recipe
    losses: list[torch.Tensor] = []
    while not losses or (run.step % recipe.log_every and run.step < recipe.steps):
        losses.append(run.advance())
        bar.update()
    loss = torch.stack(losses).mean().item()
    if not math.isfinite(loss):
        raise RuntimeError(f"training diverged: the loss is {loss} at step {run.step}; expected a lower learning rate")
    errors = {f"mse_{sigma:g}": f"{denoising_mse(run.average, held_out, sigma):.6f}" for sigma in LOGGED_SIGMAS}
    bar.set_postfix(errors)
    rate = learning_rate(run.step - 1, recipe)
    return {"learning_rate": f"{rate:.4g}", "training_loss": f"{loss:.6f}", **errors}


def _mean_and_spread(images: torch.Tensor) -> tuple[float, float]:
    """Mean and standard deviation of all pixels, from float64 sums."""
    mean = sum(part.double().sum().item() for part in images.split(BATCH)) / images.numel()
    square = sum((part.double() - mean).square().sum().item() for part in images.split(BATCH)) / images.numel()
    return mean, math.sqrt(square)
