"""Colours that stay apart, sizes that are named, text that cannot harm."""

import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from imagelab.charts import theme
from imagelab.core.errors import ImagelabError

# Machado, Oliveira and Fernandes, "A physiologically-based model for simulation of color vision deficiency"
# (IEEE TVCG 15(6), 2009), severity 1.0, for linear RGB.
VISION = {
    "full": np.eye(3),
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}

PALETTES = {name: value for name, value in vars(theme).items() if name.endswith("_COLOURS")}
PALETTES["GROUP_COLOURS"] = dict(enumerate(theme.GROUP_COLOURS))


PALETTES = {
    "instruction": theme.INSTRUCTION_COLOURS,
    "severity": theme.SEVERITY_COLOURS,
    "confidence": theme.CONFIDENCE_COLOURS,
    "waste": theme.REASON_COLOURS,
    "file": theme.NODE_COLOURS,
    "amount": theme.AMOUNT_COLOURS,
    "state": theme.STATE_COLOURS,
    "group": dict(enumerate(theme.GROUP_COLOURS)),
}


def linear(colour):
    parts = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ np.clip(rgb, 0, 1) / np.array([0.9505, 1, 1.089])
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def contrast(one, other):
    low, high = sorted(float(np.array([0.2126, 0.7152, 0.0722]) @ linear(colour)) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("palette", PALETTES)
def test_colours_stay_apart_in_every_vision(palette, vision):
    seen = {name: lab(np.array(VISION[vision]) @ linear(code)) for name, code in PALETTES[palette].items()}
    near = {pair: float(np.linalg.norm(seen[pair[0]] - seen[pair[1]])) for pair in combinations(seen, 2)}
    assert min(near.values()) > 15, min(near, key=near.get)


def test_a_colour_has_one_meaning_in_all_charts():
    meanings = {(palette, name): code for palette, codes in PALETTES.items() for name, code in codes.items()}
    meanings = {meaning: lab(linear(code)) for meaning, code in meanings.items() if code != theme.REST}
    near = {pair: float(np.linalg.norm(meanings[pair[0]] - meanings[pair[1]])) for pair in combinations(meanings, 2)}
    assert min(near.values()) > 5, min(near, key=near.get)


def test_charts_take_their_colours_from_the_table():
    for path in Path(theme.__file__).parent.glob("*.py"):
        found = set(re.findall(r'"(#[0-9a-f]{6})"', path.read_text())) - {"#ffffff", "#111111"}
        assert path.name == "theme.py" or not found, (path.name, found)


def test_severities_darken_with_gravity():
    light = [lab(linear(theme.SEVERITY_COLOURS[name]))[0] for name in ("low", "medium", "high", "critical")]
    assert light == sorted(light, reverse=True)


def test_ink_reads_on_light_and_on_dark():
    assert contrast(theme.INK, "#ffffff") > 4.2 and contrast(theme.INK, "#111111") > 4.2
    for colour in [*theme.INSTRUCTION_COLOURS.values(), *theme.NODE_COLOURS.values()]:
        assert contrast(theme.text_on(colour), colour) > 4.5


@pytest.mark.parametrize(
    ("instruction", "kind"),
    [("RUN", "RUN"), ("run x", "RUN"), ("ENV", "other"), (None, "unknown"), (pd.NA, "unknown"), ("", "unknown")],
)
def test_instruction_kind(instruction, kind):
    assert theme.instruction_kind(instruction) == kind


@pytest.mark.parametrize(
    ("created_by", "label"),
    [
        ("RUN /bin/sh -c apt-get update # buildkit", "RUN apt-get update"),
        ("RUN |1 K=V /bin/sh -c make # buildkit", "RUN make"),
        ("RUN /bin/bash -o pipefail -c make install # buildkit", "RUN make install"),
        ("RUN |1 P=/bin/sh -c x /bin/sh -c make", "RUN make"),
        ('/bin/sh -c #(nop)  CMD ["sh"]', "CMD [&#34;sh&#34;]"),
        ("/bin/sh -c mkdir -p /x", "RUN mkdir -p /x"),
        ("|1 K=V /bin/sh -c make", "RUN make"),
        ("COPY app /app # buildkit", "COPY app /app"),
        ("RUN /bin/bash -o pipefail -c make install # buildkit", "RUN make install"),
        ("RUN |1 P=/bin/sh -c x /bin/sh -c make # buildkit", "RUN make"),
        ("", "(no command recorded)"),
        (pd.NA, "(no command recorded)"),
    ],
)
def test_step_label_is_what_the_dockerfile_had(created_by, label):
    assert theme.step_label(created_by) == label


def test_the_first_size_that_all_rows_know_is_taken():
    frame = pd.DataFrame({"size": [1, None], "content_size": [2, 3], "disk_usage": [4, 5]}, dtype="Int64")
    assert theme.known_size(frame)[0] == "content_size"
    assert theme.known_size(frame.head(1))[0] == "size"
    with pytest.raises(ImagelabError, match="disk_usage"):
        theme.known_size(frame[[]])


@pytest.mark.parametrize("top", [1, 7, 999, 1_000, 123_456, 77_800_000, 1_550_000_000, 10**13])
def test_ticks_are_round_and_few(top):
    ticks = theme.bytes_ticks(top)
    assert 2 <= len(ticks["tickvals"]) <= 9 and ticks["tickvals"][0] == 0
    assert len(set(ticks["ticktext"])) == len(ticks["ticktext"])


def test_share_stays_true_near_the_ends():
    assert theme.share(1, 1000) == "under 1%" and theme.share(999, 1000) == "over 99%"
    assert theme.share(0, 5) == "0%" and theme.share(5, 5) == "100%" and theme.share(0, 0) == "0%"
