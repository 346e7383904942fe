"""SQL over images, and every table through Parquet, Polars and DuckDB and back with its dtypes."""

import io

import duckdb
import pandas as pd
import polars
import pytest

import imagelab as il
from imagelab.core.errors import ImagelabError
from imagelab.fleet.sql import TABLES

IMAGES = ["example:chmod-in-layer-before", "example:whiteout-before"]
FRAMES = TABLES | {
    "settings": il.settings,
    "compare_layers": il.compare_layers,
    "overview": lambda images: il.overview(images[0]),
    "check_hardening": lambda images: il.check_hardening(images[0]),
    "claims": lambda images: il.claims(),
    "findings": lambda images: il.read_scan(il.data_path("scans/service-slim.facts.trivy.json")),
    "build_log": lambda images: il.read_build_log(il.data_path("build/logs/cache-mount-cold.rawjson.gz")),
    "tasks": lambda images: il.exercises.tasks(),
}


def test_a_query_gives_what_pandas_gives():
    answer = il.sql("SELECT reference, sum(bytes) AS bytes FROM waste GROUP BY reference ORDER BY reference", IMAGES)
    expected = il.waste(IMAGES).groupby("reference")["bytes"].sum()
    assert dict(zip(answer["reference"], answer["bytes"], strict=True)) == expected.to_dict()
    joined = il.sql(
        "SELECT f.path FROM files f JOIN layers l USING (reference, layer_index) WHERE l.layer_index = 0 AND f.size > 0",
        IMAGES,
    )
    listed = il.files(IMAGES)
    assert len(joined) == ((listed["layer_index"] == 0) & (listed["size"] > 0)).sum()


def test_unknown_values_stay_unknown():
    answer = il.sql("SELECT size, from_base, layer_index FROM history", "example:service-full")
    assert [str(dtype) for dtype in answer.dtypes] == ["Int64", "boolean", "Int64"]
    assert answer["layer_index"].isna().sum() == il.history("example:service-full")["layer_index"].isna().sum()


@pytest.mark.parametrize("query", ["SELECT nothing FROM layers", "SELECT * FROM nowhere", "SELEC 1"])
def test_a_failing_query_is_an_imagelab_error(query):
    with pytest.raises(ImagelabError):
        il.sql(query, IMAGES)


def with_none(frame, dtypes):
    """The frame with these dtypes; an unknown value of an object column (path_raw of files: bytes) is None."""
    unknown = {name: frame[name].notna() for name, dtype in dtypes.items() if str(dtype) == "object"}
    return frame.assign(
        **{name: frame[name].astype(object).where(known, None) for name, known in unknown.items()}
    ).astype(dtypes)


@pytest.mark.parametrize("name", FRAMES)
def test_a_table_goes_through_parquet_polars_and_duckdb_and_back(name):
    frame = FRAMES[name](IMAGES).reset_index(drop=True)
    frame.attrs = {}
    dtypes = frame.dtypes.to_dict()
    frame = with_none(frame, dtypes)
    frame.to_parquet(stored := io.BytesIO())
    with duckdb.connect() as connection:
        answer = connection.sql("SELECT * FROM frame").to_arrow_table().to_pandas()
    for back in (pd.read_parquet(stored), polars.from_pandas(frame).to_arrow().to_pandas(), answer):
        pd.testing.assert_frame_equal(with_none(back, dtypes), frame, check_categorical=False)
