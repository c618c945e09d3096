"""What is measured, measuring it, and reading what was measured; and the records of chapters."""

from .experiments import measure
from .records import Record
from .results import CERTAIN, Results
from .trials import FRESH, HELD_OUT, LEVELS, OWN, SIGMAS, Trial, figures, left_out

__all__ = [
    "CERTAIN",
    "FRESH",
    "HELD_OUT",
    "LEVELS",
    "OWN",
    "SIGMAS",
    "Record",
    "Results",
    "Trial",
    "figures",
    "left_out",
    "measure",
]
