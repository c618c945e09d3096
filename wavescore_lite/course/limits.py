"""What a submission may use while it is graded."""

from __future__ import annotations

import math
import shlex
import shutil
import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What a submission may use.

    Attributes
    ----------
    seconds, cell_seconds : float
        For all of it, and for one cell.
    memory : float
        In GiB: for each process, and for all of them together.
    inside : str
        A command to run it within, such as one that makes a sandbox; ``{folder}`` in it stands for its folder.

    Raises
    ------
    ValueError
        For a number that is not finite and > 0, or a command that is not there.
    """

    seconds: float = 600.0
    cell_seconds: float = 120.0
    memory: float = 4.0
    inside: str = ""

    def __post_init__(self) -> None:
        for name in ("seconds", "cell_seconds", "memory"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name):g}; expected a finite number > 0")
            object.__setattr__(self, name, float(getattr(self, name)))
        program = (shlex.split(self.inside) or [sys.executable])[0]
        if shutil.which(program) is None:
            raise ValueError(f"inside is {self.inside!r}; expected a command, and there is no {program}")
