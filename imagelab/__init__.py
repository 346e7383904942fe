"""imagelab: why a container image is big, slow to build or full of findings.

The shop window: names that people use, from the rooms that hold them. ``from imagelab import charts, widgets``
loads the rooms that draw.
"""

from imagelab.analyses.accepted import read_accepted
from imagelab.analyses.advice import advise
from imagelab.analyses.compare import compare_files, compare_layers, duplicates, sum_changes
from imagelab.analyses.dive import dive_efficiency
from imagelab.analyses.gate import check
from imagelab.analyses.sizes import size_by
from imagelab.analyses.waste import efficiency, waste
from imagelab.blobs import LIMITS
from imagelab.display import show
from imagelab.errors import (
    ArchiveError,
    DaemonUnavailable,
    DockerfileError,
    ImagelabError,
    ImageNotFound,
    ScanFormatError,
)
from imagelab.model import Image
from imagelab.resources import data_path, examples
from imagelab.snapshots import save_snapshot
from imagelab.sources import load_image
from imagelab.tables import files, history, layers, list_images, packages, read_file, settings, squash

__version__ = "0.1.0"

__all__ = [
    "LIMITS",
    "ArchiveError",
    "DaemonUnavailable",
    "DockerfileError",
    "Image",
    "ImageNotFound",
    "ImagelabError",
    "ScanFormatError",
    "advise",
    "check",
    "compare_files",
    "compare_layers",
    "data_path",
    "dive_efficiency",
    "duplicates",
    "efficiency",
    "examples",
    "files",
    "history",
    "layers",
    "list_images",
    "load_image",
    "packages",
    "read_accepted",
    "read_file",
    "save_snapshot",
    "settings",
    "show",
    "size_by",
    "squash",
    "sum_changes",
    "waste",
]
