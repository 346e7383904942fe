"""Five questions about each image, in their order, from the image, its build's log and its scan."""

import pandas as pd

import imagelab as il
from imagelab.core.frames import format_bytes
from imagelab.size.overview import NO_LOG, NO_SCAN, NOT_LISTED, OVERVIEW_COLUMNS
from imagelab.widgets.tables import cards

QUESTIONS = ["how big", "how much waste", "how slow", "how bad", "what next"]
SLIM, PUBLISHED = "service-slim", "example:published-python-3.10-2026"
LOG, SCAN = il.data_path(f"build/logs/{SLIM}-cold.rawjson.gz"), il.data_path(f"scans/{SLIM}.facts.trivy.json")


def answers(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.set_index("question")[["answer", "detail"]]


def test_every_card_equals_its_function():
    image, log, scan = il.load_image(f"example:{SLIM}"), il.read_build_log(LOG), il.read_scan(SCAN)
    frame = il.overview(image, logs={SLIM: log}, scans={SLIM: scan})
    assert frame.dtypes.astype(str).to_dict() == OVERVIEW_COLUMNS and list(frame["question"]) == QUESTIONS
    told = answers(frame)
    assert told["answer"]["how big"] == format_bytes(il.layers(image)["size"].sum())
    assert told["answer"]["how much waste"] == format_bytes(il.efficiency(image)["wasted"].iloc[0])
    seconds = (log["completed"].max() - log["started"].min()).total_seconds()
    assert told["answer"]["how slow"] == f"{seconds:.3g} s" and seconds > 1
    assert (
        "4 steps, 0 from the cache" in told["detail"]["how slow"]
        and "RUN python3 -m venv" in told["detail"]["how slow"]
    )
    assert told["answer"]["how bad"] == f"{len(scan)} findings"
    for severity, count in scan["severity"].value_counts().items():
        assert (f"{count} {severity}" in told["detail"]["how bad"]) == bool(count)
    assert f"{scan['fixed_version'].notna().sum()} have a fix" in told["detail"]["how bad"]
    first = il.advise(image).iloc[0]
    assert told["answer"]["what next"] == f"{format_bytes(first['bytes'])} of {first['what']}"


def test_missing_inputs_are_named_with_how_to_give_them():
    told = answers(il.overview(f"example:{SLIM}"))
    assert told["detail"]["how slow"] == NO_LOG and told["detail"]["how bad"].startswith(NO_SCAN)
    assert told["answer"][["how slow", "how bad"]].isna().all()
    published = answers(il.overview(PUBLISHED))
    assert (published["detail"][["how much waste", "what next"]] == NOT_LISTED).all()
    assert "as stored and sent" in published["detail"]["how big"]


def test_a_log_without_times_is_measured_along_its_critical_path(tmp_path):
    path = tmp_path / "build.log"
    path.write_text(
        "#4 [1/3] FROM busybox\n#4 DONE 0.0s\n#5 [2/3] RUN one\n#5 DONE 1.5s\n#6 [3/3] RUN two\n#6 DONE 2.0s\n"
    )
    told = answers(il.overview(f"example:{SLIM}", logs={SLIM: il.read_build_log(path)}))
    assert told["answer"]["how slow"] == "3.5 s" and "2 s, is RUN two" in told["detail"]["how slow"]


def test_the_slowest_step_is_not_a_cached_or_internal_one(tmp_path):
    path = tmp_path / "build.log"
    path.write_text(
        "#1 [internal] load build context\n#1 DONE 9.0s\n#5 [2/4] RUN short\n#5 DONE 0.5s\n"
        "#6 [3/4] RUN long\n#6 DONE 2.0s\n#7 [4/4] RUN middle\n#7 DONE 1.0s\n"
    )
    detail = answers(il.overview(f"example:{SLIM}", logs={SLIM: il.read_build_log(path)}))["detail"]["how slow"]
    assert "2 s, is RUN long" in detail and "RUN short" not in detail and "RUN middle" not in detail


def test_cards_show_the_whole_text_and_no_markup():
    frame = il.overview([f"example:{SLIM}", PUBLISHED]).assign(detail="<b>no markup</b>")
    html = cards(frame)._repr_html_()
    assert [html.count(question.capitalize()) for question in QUESTIONS] == [2] * 5
    assert "&lt;b&gt;no markup" in html and "<b>" not in html and "unknown" in html
    assert not hasattr(cards(frame, most=1), "_repr_html_"), "of many images, a table"
