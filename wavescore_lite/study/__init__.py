"""What is measured, measuring it, and reading what was measured; and the records of chapters."""

from .candidates import FRESH, HELD_OUT, LEVELS, OWN, SIGMAS, Analytic, Baseline, Trained
from .experiments import measure
from .plan import figures, left_out
from .records import Record
from .results import CERTAIN, Results
from .sample_results import SampleResults
from .shown import Shown
from .trials import Trial

__all__ = [
    "CERTAIN",
    "FRESH",
    "HELD_OUT",
    "LEVELS",
    "OWN",
    "SIGMAS",
    "Analytic",
    "Baseline",
    "Record",
    "Results",
    "SampleResults",
    "Shown",
    "Trained",
    "Trial",
    "figures",
    "left_out",
    "measure",
]
