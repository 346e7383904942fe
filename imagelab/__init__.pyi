"""The shop window: the names that people use, and the room that each comes from. Type checkers read this file, and so
does ``__init__.py``, which loads a room when one of its names is first used.
"""

from . import exercises as exercises
from .analyses.accepted import read_accepted as read_accepted
from .analyses.advice import advise as advise
from .analyses.blame import blame as blame
from .analyses.build_advice import advise_build as advise_build
from .analyses.cache import plan_build as plan_build
from .analyses.cache import plan_cost as plan_cost
from .analyses.cache_log import critical_steps as critical_steps
from .analyses.claims import claims as claims
from .analyses.claims_advice import verify_advice as verify_advice
from .analyses.compare import compare_files as compare_files
from .analyses.compare import compare_layers as compare_layers
from .analyses.compare import duplicates as duplicates
from .analyses.compare import sum_changes as sum_changes
from .analyses.dive import dive_efficiency as dive_efficiency
from .analyses.fleet import query_fleet as query_fleet
from .analyses.gate import check as check
from .analyses.hardening import check_hardening as check_hardening
from .analyses.hardening_containers import containers as containers
from .analyses.overview import overview as overview
from .analyses.security import compare_scanners as compare_scanners
from .analyses.security import compare_scans as compare_scans
from .analyses.sizes import size_by as size_by
from .analyses.waste import efficiency as efficiency
from .analyses.waste import waste as waste
from .blobs import LIMITS as LIMITS
from .display import show as show
from .dockerfile.context import build_context as build_context
from .dockerfile.context import context_sizes as context_sizes
from .dockerfile.log import read_build_log as read_build_log
from .dockerfile.read import read_dockerfile as read_dockerfile
from .errors import ArchiveError as ArchiveError
from .errors import DaemonUnavailable as DaemonUnavailable
from .errors import DockerfileError as DockerfileError
from .errors import ImagelabError as ImagelabError
from .errors import ImageNotFound as ImageNotFound
from .errors import RegistryUnavailable as RegistryUnavailable
from .errors import ScanFormatError as ScanFormatError
from .fleet import index_images as index_images
from .model import Image as Image
from .resources import data_path as data_path
from .resources import examples as examples
from .scans.reader import read_scan as read_scan
from .scans.run import run_scan as run_scan
from .scans.suppress import set_aside as set_aside
from .scans.suppress import suppress as suppress
from .snapshots import save_snapshot as save_snapshot
from .sources import load_image as load_image
from .sources.registry import list_platforms as list_platforms
from .sources.registry import list_tags as list_tags
from .tables import files as files
from .tables import history as history
from .tables import layers as layers
from .tables import list_images as list_images
from .tables import packages as packages
from .tables import read_file as read_file
from .tables import settings as settings
from .tables import squash as squash

__version__: str
