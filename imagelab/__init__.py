"""imagelab: why a container image is big, slow to build or full of findings.

The shop window: names that people use, from the rooms that hold them. ``from imagelab import charts, widgets``
loads the rooms that draw.
"""

from imagelab import exercises
from imagelab.analyses.accepted import read_accepted
from imagelab.analyses.advice import advise
from imagelab.analyses.blame import blame
from imagelab.analyses.build_advice import advise_build
from imagelab.analyses.cache import plan_build, plan_cost
from imagelab.analyses.cache_log import critical_steps
from imagelab.analyses.claims import claims
from imagelab.analyses.claims_advice import verify_advice
from imagelab.analyses.compare import compare_files, compare_layers, duplicates, sum_changes
from imagelab.analyses.dive import dive_efficiency
from imagelab.analyses.fleet import query_fleet
from imagelab.analyses.gate import check
from imagelab.analyses.hardening import check_hardening
from imagelab.analyses.hardening_containers import containers
from imagelab.analyses.security import compare_scanners, compare_scans
from imagelab.analyses.sizes import size_by
from imagelab.analyses.waste import efficiency, waste
from imagelab.blobs import LIMITS
from imagelab.display import show
from imagelab.dockerfile.context import build_context, context_sizes
from imagelab.dockerfile.log import read_build_log
from imagelab.dockerfile.read import read_dockerfile
from imagelab.errors import (
    ArchiveError,
    DaemonUnavailable,
    DockerfileError,
    ImagelabError,
    ImageNotFound,
    RegistryUnavailable,
    ScanFormatError,
)
from imagelab.fleet import index_images
from imagelab.model import Image
from imagelab.resources import data_path, examples
from imagelab.scans.reader import read_scan
from imagelab.scans.run import run_scan
from imagelab.scans.suppress import set_aside, suppress
from imagelab.snapshots import save_snapshot
from imagelab.sources import list_platforms, list_tags, load_image
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
    "RegistryUnavailable",
    "ScanFormatError",
    "advise",
    "advise_build",
    "blame",
    "build_context",
    "check",
    "check_hardening",
    "claims",
    "compare_files",
    "compare_layers",
    "compare_scanners",
    "compare_scans",
    "containers",
    "context_sizes",
    "critical_steps",
    "data_path",
    "dive_efficiency",
    "duplicates",
    "efficiency",
    "examples",
    "exercises",
    "files",
    "history",
    "index_images",
    "layers",
    "list_images",
    "list_platforms",
    "list_tags",
    "load_image",
    "packages",
    "plan_build",
    "plan_cost",
    "query_fleet",
    "read_accepted",
    "read_build_log",
    "read_dockerfile",
    "read_file",
    "read_scan",
    "run_scan",
    "save_snapshot",
    "set_aside",
    "settings",
    "show",
    "size_by",
    "squash",
    "sum_changes",
    "suppress",
    "verify_advice",
    "waste",
]
