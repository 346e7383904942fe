"""The final filesystem against a slow reference that applies one entry after another."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings

import imagelab as il
from tests.support.overlay import CASES, LAYERS, made


def check(layers):
    image, expected = made(layers)
    for digests in (False, True):
        frame = il.files(image, digests=digests)
        assert len(frame) == len(expected)
        for row, entry in zip(frame.itertuples(), expected, strict=True):
            name = f"{entry.kind} {entry.path!r} of layer {entry.layer}"
            inode = None if entry.inode is None else expected.index(entry.inode)
            assert (row.path.encode(), row.kind, row.layer_index) == (entry.path, entry.kind, entry.layer)
            assert (None if pd.isna(row.change) else row.change) == entry.change, name
            assert row.visible == (entry.gone is None and not entry.kind.endswith("whiteout")), name
            assert (None if pd.isna(row.inode) else row.inode) == inode, name


@pytest.mark.parametrize("case", CASES)
def test_cases(case):
    check(CASES[case])


@settings(max_examples=150)
@given(LAYERS)
def test_any_layers(layers):
    check(layers)
