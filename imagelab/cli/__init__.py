"""``imagelab …``: every verb is a call of the public API."""

from imagelab.cli.app import main

__all__ = ["main"]
