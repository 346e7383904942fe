"""Whether what lies in two places of files is the same."""

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagelab.core.errors import ArchiveError
from imagelab.images.layers.regions import Region, same_bytes


def places(pairs):
    return (
        tuple(np.array(column, np.int64) for column in zip(*pairs, strict=True)) if pairs else (np.empty(0, int),) * 2
    )


@given(st.data())
def test_equal_bytes_mean_equal_regions(data):
    contents = [data.draw(st.text("ab", min_size=4, max_size=40)).encode() for _ in range(2)]
    with tempfile.TemporaryDirectory(suffix=os.fsdecode(b"\xff")) as folder:  # a name that is no text
        regions = []
        for number in range(3):  # the third lies in the second's file
            which = min(number, 1)
            path = Path(folder, str(which))
            path.write_bytes(contents[which])
            start = data.draw(st.integers(0, len(contents[which]) - 1))
            regions.append(Region(str(path), start, data.draw(st.integers(0, len(contents[which]) - start))))

        def bytes_at(number, offset, size):
            region = regions[number]
            return Path(region.path).read_bytes()[region.start : region.start + region.length][offset : offset + size]

        place = st.integers(0, 2).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, regions[n].length)))
        pairs = data.draw(st.lists(st.tuples(place, place, st.integers(0, 5)), max_size=8))
        one, other = places([pair[0] for pair in pairs]), places([pair[1] for pair in pairs])
        size = np.array([pair[2] for pair in pairs], np.int64)
        wanted = [(bytes_at(*a, n), bytes_at(*b, n)) for a, b, n in pairs]
        if all(len(a) == len(b) == n for (a, b), n in zip(wanted, size, strict=True)):
            assert same_bytes(regions, one, other, size).tolist() == [a == b for a, b in wanted]
        else:
            with pytest.raises(ArchiveError, match="cut off"):
                same_bytes(regions, one, other, size)


@pytest.mark.parametrize("content", [None, b""])
def test_a_deleted_file_is_an_error(tmp_path, content):
    path = tmp_path / "a.tar"
    if content is not None:
        path.write_bytes(content)
    place = places([(0, 0)])
    with pytest.raises(ArchiveError, match=r"a\.tar"):
        same_bytes([Region(str(path), 0, 512)], place, place, np.array([1]))
