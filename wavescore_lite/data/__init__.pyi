from .loading import load_images as load_images
from .loading import load_labels as load_labels
from .loading import resolve_dataset as resolve_dataset
