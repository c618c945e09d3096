"""Trained denoisers to compare with: their designs, their weights, and how they are trained."""

from .backbones import DESIGNS
from .files import load_network, save_network, trained, training_log
from .networks import SIGMA_RANGE, Network, preconditioning

__all__ = [
    "DESIGNS",
    "SIGMA_RANGE",
    "Network",
    "load_network",
    "preconditioning",
    "save_network",
    "trained",
    "training_log",
]
