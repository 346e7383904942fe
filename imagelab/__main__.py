"""``python -m imagelab``: the command line."""

from imagelab.cli import main

main()
