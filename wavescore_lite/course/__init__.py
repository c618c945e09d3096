"""Checking and grading of problem sets."""
