"""Images in [0, 1] and their classes."""

from .registry import load_images, load_labels, resolve_dataset

__all__ = ["load_images", "load_labels", "resolve_dataset"]
