"""The build context's area: what .dockerignore leaves out."""

from __future__ import annotations

from imagelab.build.context import build_context
from imagelab.charts.context import context_treemap


def test_treemap_adds_up_and_folds(tmp_path):
    project = tmp_path / "project"
    (project / "big").mkdir(parents=True)
    (project / "big/data").write_bytes(bytes(9000))
    (project / "a.py").write_bytes(bytes(1000))
    (project / ".dockerignore").write_text("big\n")
    (project / "Dockerfile").write_text("FROM x\nCOPY a.py /\n")
    figure = context_treemap(build_context(project))
    tree = figure.data[0]
    sizes = dict(zip(tree.labels, tree.values, strict=True))
    total = sum(path.stat().st_size for path in project.rglob("*") if path.is_file())
    assert sizes["context"] == total
    assert sizes["big"] == 9000
    top = sum(size for size, parent in zip(tree.values, tree.parents, strict=True) if parent == tree.ids[0])
    assert top == total
    assert ".dockerignore excludes" in figure.layout.title.text
    empty = project / "empty"
    empty.mkdir()
    assert "is empty" in context_treemap(build_context(empty)).layout.title.text
