"""Query the tables of images with SQL, in DuckDB."""

from __future__ import annotations

import re

import pandas as pd
import pyarrow as pa

from imagelab.core.errors import ImagelabError
from imagelab.core.extras import require
from imagelab.images.tables.files import files
from imagelab.images.tables.history import history
from imagelab.images.tables.images import Images, load_images
from imagelab.images.tables.layers import layers
from imagelab.images.tables.packages import packages
from imagelab.size.advice import advise
from imagelab.size.waste import efficiency, waste

TABLES = {table.__name__: table for table in (history, layers, files, packages, waste, efficiency, advise)}
_DTYPES = {pa.int64(): pd.Int64Dtype(), pa.int32(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}


def sql(query: str, images: Images) -> pd.DataFrame:
    """Query images with SQL (DuckDB's dialect).

    Parameters
    ----------
    query : str
        Its tables are those of ``TABLES``: history, layers, files, packages, waste, efficiency, advise. Each has the columns
        of the function of its name, and is made only if the query names it.
    images : Image, reference, or iterable of them
        An engine saves an image if a table needs its files.

    Returns
    -------
    pandas.DataFrame
        The answer. Whole numbers are ``Int64`` and truth values ``boolean``, so that an unknown value stays ``<NA>``.

    Raises
    ------
    ImagelabError
        DuckDB refuses the query.

    Examples
    --------
    >>> il.sql("SELECT reference, sum(bytes) AS bytes FROM waste GROUP BY reference", "example:whiteout-before")["bytes"].item()
    8388608
    """
    require("fleet", "duckdb")
    import duckdb

    loaded = load_images(images)
    with duckdb.connect(config={"autoinstall_known_extensions": "false"}) as connection:
        for name, table in TABLES.items():
            if re.search(rf"\b{name}\b", query, re.IGNORECASE):
                connection.register(name, pa.Table.from_pandas(table(loaded), preserve_index=False))
        try:
            return connection.sql(query).to_arrow_table().to_pandas(types_mapper=_DTYPES.get)
        except duckdb.Error as error:
            raise ImagelabError(f"DuckDB refuses the query: {error}. The tables are {', '.join(TABLES)}.") from error
