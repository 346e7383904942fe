"""Course section: its claims, measures, exercises and recipes."""

from imagelab.course import exercises as exercises
