"""The public names, and the module of each. Type checkers read this file, and so does ``__init__.py``, which loads a module
when one of its names is first used.
"""

from .build.advice import advise_build as advise_build
from .build.cache.plan import plan_build as plan_build
from .build.cache.plan import plan_cost as plan_cost
from .build.context import build_context as build_context
from .build.context import context_sizes as context_sizes
from .build.dockerfile.read import read_dockerfile as read_dockerfile
from .build.improve.improve import improve as improve
from .build.logs.cost import critical_steps as critical_steps
from .build.logs.read import read_build_log as read_build_log
from .core.errors import ArchiveError as ArchiveError
from .core.errors import DaemonUnavailable as DaemonUnavailable
from .core.errors import DockerfileError as DockerfileError
from .core.errors import ImagelabError as ImagelabError
from .core.errors import ImageNotFound as ImageNotFound
from .core.errors import MissingExtra as MissingExtra
from .core.errors import RegistryUnavailable as RegistryUnavailable
from .core.errors import ScanFormatError as ScanFormatError
from .core.model import Image as Image
from .core.resources import data_path as data_path
from .core.resources import examples as examples
from .course import exercises as exercises
from .course.advice_claims import verify_advice as verify_advice
from .course.claims import claims as claims
from .fleet.index import index_images as index_images
from .fleet.query import query_fleet as query_fleet
from .images.layers.blobs import LIMITS as LIMITS
from .images.load import load_image as load_image
from .images.save import save_snapshot as save_snapshot
from .images.sources.registry.source import list_platforms as list_platforms
from .images.sources.registry.source import list_tags as list_tags
from .images.tables.contents import read_file as read_file
from .images.tables.files import files as files
from .images.tables.files import squash as squash
from .images.tables.history import history as history
from .images.tables.images import list_images as list_images
from .images.tables.layers import layers as layers
from .images.tables.packages import packages as packages
from .images.tables.settings import settings as settings
from .security.blame import blame as blame
from .security.compare import compare_scanners as compare_scanners
from .security.compare import compare_scans as compare_scans
from .security.hardening.check import check_hardening as check_hardening
from .security.hardening.containers import containers as containers
from .security.remediation import remediation as remediation
from .security.run import run_scan as run_scan
from .security.scans.reader import read_scan as read_scan
from .security.suppress import suppress as suppress
from .security.suppress import suppressed as suppressed
from .size.accepted import read_accepted as read_accepted
from .size.advice import advise as advise
from .size.compare import compare_files as compare_files
from .size.compare import compare_layers as compare_layers
from .size.compare import duplicates as duplicates
from .size.compare import sum_changes as sum_changes
from .size.dive import dive_efficiency as dive_efficiency
from .size.limits import check_limits as check_limits
from .size.overview import overview as overview
from .size.sizes import size_by as size_by
from .size.waste import efficiency as efficiency
from .size.waste import waste as waste
from .widgets.tables import show as show

__version__: str
