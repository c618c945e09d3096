"""How the classifier is trained: cross-entropy on images that are shifted by a few pixels, in a few minutes of a core.

A batch is fixed by the seed and the number of the step. On a CPU, with as many threads, the same command ends in the
same weights, bit for bit.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import cross_entropy, pad

from ..support.checks import check_images, check_integer
from ..support.progress import progress
from ..support.storage import write_rows
from .classifier import CLASSES, Classifier, classifier_file, save_classifier
from .recipes import split

CLASSIFYING = 4  # stream of random numbers, beside recipes.TRAINING
LARGEST_SHIFT = 2  # pixels, up or down and left or right
WEIGHT_DECAY = 0.05
LOG_EVERY = 250  # steps


def shifted_batch(
    images: torch.Tensor, labels: torch.Tensor, step: int, size: int, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Images and classes of a step, drawn with replacement; each image shifted by at most 2 pixels, and black moves in.

    Parameters
    ----------
    images : tensor [n, height, width]
    labels : int64 tensor [n]
    step, size, seed : int
        The number of the step, images in it, and what else fixes them.

    Returns
    -------
    tensor [size, height, width], int64 tensor [size]

    Examples
    --------
    >>> images, labels = shifted_batch(torch.ones(10, 8, 8), torch.arange(10), step=0, size=4)
    >>> images.shape, bool((images[:, 2:-2, 2:-2] == 1).all())
    (torch.Size([4, 8, 8]), True)
    """
    generator = np.random.default_rng([seed, CLASSIFYING, step])
    chosen = torch.from_numpy(generator.integers(len(images), size=size))
    down, right = torch.from_numpy(generator.integers(2 * LARGEST_SHIFT + 1, size=(2, size)))
    height, width = images.shape[1:]
    rows, columns = down[:, None] + torch.arange(height), right[:, None] + torch.arange(width)
    padded = pad(images[chosen], (LARGEST_SHIFT,) * 4)
    return padded[torch.arange(size)[:, None, None], rows[:, :, None], columns[:, None, :]], labels[chosen]


def train_classifier(
    images: torch.Tensor,
    labels: torch.Tensor,
    folder: str | Path,
    dataset: str,
    steps: int = 8000,
    batch: int = 128,
    learning_rate: float = 5e-3,
    seed: int = 0,
) -> dict[str, str]:
    """Train a classifier by AdamW, the rate rising and falling once (`torch.optim.lr_scheduler.OneCycleLR`).

    Parameters
    ----------
    images : tensor [n, size, size] in [0, 1], float32 or float64
        The training images; `recipes.split` holds some out for the log.
    labels : int64 tensor [n]
        Their classes, from 0 to 9.
    folder : path
        Where everything goes; made if it is not there: the weights, ``table.csv`` with their checksum, and a log, with
        a line every 250 steps: step, seconds, learning_rate, training_loss (the mean since the line before) and
        held_out_accuracy.
    dataset : str
        Name of what it is trained on.
    steps, batch : int
        Batches in all, and images in each.
    learning_rate : float
        At its highest.
    seed : int
        Of the first weights and of every batch.

    Returns
    -------
    dict
        The line of ``table.csv``; ``load_classifier(dataset, size, folder)`` loads the classifier.

    Raises
    ------
    TypeError, ValueError
        For other images or labels.
    """
    images = check_images(images, images.shape[-1], (0.0, 1.0)).float()
    if (
        labels.shape != images.shape[:1]
        or labels.dtype != torch.int64
        or not 0 <= labels.min() <= labels.max() < CLASSES
    ):
        raise ValueError(
            f"labels have shape {list(labels.shape)} and dtype {labels.dtype}; "
            f"expected int64 from 0 to {CLASSES - 1}, one for each of {len(images)} images"
        )
    for name, number in (("steps", steps), ("batch", batch)):
        check_integer(name, number, 2)
    (fitted, held_out), (classes, held_out_classes) = split(images), split(labels)
    folder, size = Path(folder), images.shape[-1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        classifier = Classifier(size)
    folder.mkdir(parents=True, exist_ok=True)
    optimizer = torch.optim.AdamW(classifier.parameters(), weight_decay=WEIGHT_DECAY, foreach=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, steps)
    log, losses, started = [], [], time.perf_counter()
    for step in progress(range(1, steps + 1), desc="classifier"):
        drawn, wanted = shifted_batch(fitted, classes, step, batch, seed)
        loss = cross_entropy(classifier.train()(drawn), wanted)
        optimizer.zero_grad()
        loss.backward()
        rate = schedule.get_last_lr()[0]
        optimizer.step()
        schedule.step()
        losses.append(loss.detach())
        if step % LOG_EVERY == 0 or step == steps:
            right = classifier.eval().classify(held_out) == held_out_classes
            log.append(
                {
                    "step": step,
                    "seconds": f"{time.perf_counter() - started:.1f}",
                    "learning_rate": f"{rate:.4g}",
                    "training_loss": f"{torch.stack(losses).mean():.6f}",
                    "held_out_accuracy": f"{right.double().mean():.4f}",
                }
            )
            write_rows((folder / classifier_file(dataset, size)).with_suffix(".csv"), log)
            losses.clear()
    command = (
        f"wavescore train-classifier --dataset {dataset} --size {size} --images {len(images)} --steps {steps} "
        f"--batch {batch} --learning-rate {learning_rate:g} --seed {seed}"
    )
    return save_classifier(classifier.eval(), folder, dataset, command)
