"""Images → tidy frames. Each verb takes one image or many, or references, and makes one long frame."""

from imagelab.tables.config import (
    HISTORY_COLUMNS,
    IMAGES_COLUMNS,
    LAYERS_COLUMNS,
    SETTINGS_COLUMNS,
    Images,
    history,
    layers,
    list_images,
    load_images,
    settings,
)  # fmt: skip
from imagelab.tables.contents import read_file
from imagelab.tables.filesystem import FILES_COLUMNS, files, squash
from imagelab.tables.package_records import PACKAGES_COLUMNS, packages

__all__ = [
    "FILES_COLUMNS", "HISTORY_COLUMNS", "IMAGES_COLUMNS", "LAYERS_COLUMNS", "PACKAGES_COLUMNS", "SETTINGS_COLUMNS", "Images",
    "files", "history", "layers", "list_images", "load_images", "packages", "read_file", "settings", "squash"
]  # fmt: skip
