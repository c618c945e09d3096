"""What a submission earned."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Graded:
    """What a submission earned.

    Attributes
    ----------
    path : Path
    student, problem_set : str
        Who handed it in, and the name of the master that it answers, "" if none.
    points : dict of str to float or None
        Of each graded cell, by its grade_id; None where a person is to read the answer.
    out_of : dict of str to float
    messages : dict of str to str
        Why a cell lost its points.
    remarks : list of str
        What the grader should know: edited tests, limits that were reached, a file that is no notebook.
    """

    path: Path
    student: str = ""
    problem_set: str = ""
    points: dict[str, float | None] = field(default_factory=dict)
    out_of: dict[str, float] = field(default_factory=dict)
    messages: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    @property
    def total(self) -> float:
        """Points of the tests, and zeros of empty answers."""
        return sum(points for points in self.points.values() if points is not None)

    @property
    def maximum(self) -> float:
        """Points of all graded cells."""
        return sum(self.out_of.values())

    @property
    def by_hand(self) -> float:
        """Points that a person still has to give."""
        return sum(self.out_of[name] for name, points in self.points.items() if points is None)

    @property
    def problems(self) -> dict[str, float]:
        """Points of each problem."""
        problems: dict[str, float] = {}
        for name, points in self.points.items():
            problems[problem_of(name)] = problems.get(problem_of(name), 0) + (points or 0)
        return problems


def problem_of(name: str) -> str:
    """The problem that a cell belongs to: the first word of its grade_id.

    Examples
    --------
    >>> problem_of("p2-step-matrix-hidden")
    'p2'
    """
    return name.partition("-")[0]
