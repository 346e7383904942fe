"""Which of several alternatives is kept; the builds are stand-ins."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from imagelab.improve.edits import Edit, Project
from imagelab.improve.prove import Noise
from imagelab.improve.search import Search

TEXT = "FROM a\nRUN apk add --no-cache gcc && make\n"


def chosen(*tried: dict) -> list[tuple[str, str]]:
    """The rules and results after alternatives were tried that end as given."""
    project = Project("Dockerfile", TEXT)
    search = Search(project, (), ())
    search.noise, search.current, search.rebuild = Noise(bytes=10), SimpleNamespace(size=100_000), 9.0
    ends = {f"rule-{n}": end for n, end in enumerate(tried)}

    def stand_in(outcome):
        listed = replace(project, text=f"{TEXT}# {outcome.edit.rule}\n")
        return replace(outcome, **ends[outcome.edit.rule]), SimpleNamespace(listed=listed, files=None)

    search.tried = stand_in
    step = project.build.steps[1]
    search.choose([Edit(rule, "", step, (), packages=True, alternative=n > 0) for n, rule in enumerate(ends)])
    kept = [f"rule-{n}" for n in range(len(tried)) if f"# rule-{n}" in search.walk.project.text]
    assert kept == [outcome.edit.rule for outcome in search.outcomes if outcome.result == "proven"]
    return [(outcome.edit.rule, outcome.result) for outcome in search.outcomes]


SMALL = {"result": "proven", "measured": 50_000, "measured_seconds": -4.0}
LARGE = {"result": "proven", "measured": 40_000, "measured_seconds": 2.0}
FAILS = {"result": "breaks the build"}


@pytest.mark.parametrize(
    ("tried", "expected"),
    [
        pytest.param((LARGE, SMALL), [("rule-0", "no gain"), ("rule-1", "proven")], id="the second is smaller"),
        pytest.param((SMALL, LARGE), [("rule-1", "no gain"), ("rule-0", "proven")], id="the first is smaller"),
        pytest.param((FAILS, LARGE), [("rule-0", "breaks the build"), ("rule-1", "proven")], id="one fails"),
        pytest.param((FAILS, FAILS), [("rule-0", "breaks the build"), ("rule-1", "breaks the build")], id="both fail"),
        pytest.param(
            (SMALL, SMALL | {"measured": 50_500}),
            [("rule-1", "no gain"), ("rule-0", "proven")],
            id="about equal and no faster",
        ),
        pytest.param(
            (SMALL, LARGE | {"measured": 49_500}),
            [("rule-0", "no gain"), ("rule-1", "proven")],
            id="about equal and faster",
        ),
    ],
)
def test_the_better_of_the_proven_alternatives_is_kept(tried, expected):
    assert chosen(*tried) == expected
