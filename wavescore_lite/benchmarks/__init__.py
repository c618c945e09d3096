"""What the package costs, each cost beside the bare arithmetic of the same work, timed in the same run.

A *case* is what is run, its bare counterpart, and the limit that is set to it, if any. `cases` lists them, `bare` has
the counterparts, `timing` runs both in turns, `memory` looks at a process of its own, `report` writes it all down.
"""

from .cases import ALL_IMAGES, FEWEST_IMAGES, Setting, measure
from .report import heading, table, verdict, write

__all__ = ["ALL_IMAGES", "FEWEST_IMAGES", "Setting", "heading", "measure", "table", "verdict", "write"]
