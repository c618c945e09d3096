"""Where released problem sets import `check` from; it lives in `course.check`."""

from .course.check import check

__all__ = ["check"]
