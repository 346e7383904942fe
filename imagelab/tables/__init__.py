"""Images → tidy frames. Each verb takes one image or many, or references, and makes one long frame."""

from imagelab.tables.config import (
    HISTORY_COLUMNS,
    LAYERS_COLUMNS,
    SETTINGS_COLUMNS,
    history,
    layers,
    settings,
)  # fmt: skip
from imagelab.tables.contents import read_file
from imagelab.tables.filesystem import FILES_COLUMNS, files, squash
from imagelab.tables.images import IMAGES_COLUMNS, Images, Reference, list_images, load_images, one_image
from imagelab.tables.package_records import PACKAGES_COLUMNS, packages

__all__ = [
    "FILES_COLUMNS", "HISTORY_COLUMNS", "IMAGES_COLUMNS", "LAYERS_COLUMNS", "PACKAGES_COLUMNS", "SETTINGS_COLUMNS",
    "Images", "Reference", "files", "history", "layers", "list_images", "load_images", "one_image", "packages",
    "read_file", "settings", "squash",
]  # fmt: skip
