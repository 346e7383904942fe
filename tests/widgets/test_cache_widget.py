"""The cache widget without a browser: ticking turns steps, and the sibling says the same."""

from __future__ import annotations

import pytest

from imagelab.widgets.cache import BuildCache

DOCKERFILE = """FROM busybox
ARG MODE=fast
COPY requirements.txt /
RUN install -r requirements.txt
COPY . /app
"""


@pytest.fixture
def widget(tmp_path):
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    (tmp_path / "requirements.txt").write_text("x")
    (tmp_path / "<b>.py").write_text("x")
    log = tmp_path.parent / "build.log"
    steps = [
        "#1 [2/4] COPY r /\n#1 DONE 0.1s\n",
        "#2 [3/4] RUN x\n#2 DONE 4.5s\n",
        "#3 [4/4] COPY . /app\n#3 DONE 0.2s\n",
    ]
    log.write_text("\n".join(steps))
    return BuildCache(tmp_path, log=log)


def title(widget):
    return widget.steps.data["builds"][0]["title"]


def test_ticks_turn_steps(widget):
    assert widget.selected["hit"].tolist() == [True, True, True]
    assert title(widget).startswith("nothing changed: 0 of 3")
    widget.paths.value = ("<b>.py",)
    assert widget.selected["hit"].tolist() == [True, True, False]
    assert title(widget).startswith("<b>.py changed: 1 of 3 steps run again, 0.2 s; 4.6 s")
    widget.paths.value = ()
    widget.arguments.value = ("MODE",)
    assert widget.selected["hit"].tolist() == [True, False, False]
    assert widget.selected["reason"][1] == "ARG MODE changed"
    widget.arguments.value = ()
    widget.lines.value = ("Dockerfile:3",)
    assert widget.selected["hit"].tolist() == [False, False, False]
    assert widget.error == ""


def test_the_static_sibling(widget):
    widget.paths.value = ("requirements.txt",)
    html = widget._repr_mimebundle_()
    html = (html[0] if isinstance(html, tuple) else html)["text/html"]
    assert "requirements.txt changed: 3 of 3 steps run again" in html
    assert "edit requirements.txt: 3 of 3" in html and "change ARG MODE: 2 of 3" in html
    assert "<b>.py" not in html
    assert widget.table.data["caption"]
