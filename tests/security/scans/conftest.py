"""Reports that tests make up."""

from __future__ import annotations

import json

import pytest

from imagelab.security.scans.reader import read_scan


@pytest.fixture
def scan_of(tmp_path):
    """Reads a document, or bytes, as the file of a report."""

    def read(document, **options):
        path = tmp_path / "report.json"
        path.write_bytes(document if isinstance(document, bytes) else json.dumps(document).encode())
        return read_scan(path, **options)

    return read
