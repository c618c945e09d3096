"""What a submission may use while it is graded, and a command that makes a sandbox around it."""

from __future__ import annotations

import math
import shlex
import shutil
import site
import sys
from dataclasses import dataclass
from pathlib import Path

SHOWN = ("bin", "sbin", "lib", "lib32", "lib64", "share", "pyvenv.cfg")  # of a place where programs are installed
LINKS = ("/etc/ld.so.cache", "/etc/alternatives")  # by which programs find libraries


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
        A command to run its code within, such as one that makes a sandbox; ``{folder}`` in it stands for its folder.

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


def bubblewrap() -> str:
    """A command, for `Limits.inside`, that makes a sandbox of the programs of this machine and a submission's folder.

    In it are to be seen, and not to be changed, the programs and libraries of the system and of this Python; and no
    other files, no network and no other processes. The folder alone can be written to. Nothing outlives the command.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If bubblewrap is not installed.
    """
    if shutil.which("bwrap") is None:
        raise ValueError("there is no bwrap here; expected bubblewrap, for Linux: apt-get install bubblewrap")
    prefixes = ("/usr", "/", sys.base_prefix, sys.prefix)
    places = [Path(prefix, name) for prefix in prefixes for name in SHOWN]
    command = ["bwrap"]
    for place in dict.fromkeys([*places, *map(Path, [*LINKS, *site.getsitepackages()])]):
        if place.is_symlink():
            command += ["--symlink", str(place.readlink()), str(place)]
        elif place.exists():
            command += ["--ro-bind", str(place), str(place)]
    command += ["--dev", "/dev", "--proc", "/proc", "--bind", "{folder}", "{folder}", "--chdir", "{folder}"]
    return shlex.join([*command, "--unshare-all", "--die-with-parent", "--new-session"])
