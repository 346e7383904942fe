"""Define the questions for a fleet: the SQL (DuckDB's) and the columns of each answer.

The SQL reads the index's rows of facts; two questions also read the snapshots. ``identity`` names what makes two layers
the same and ``measure`` the size that is summed: ``digest`` and ``content_size`` (what a registry stores) where both are
known for every layer, else ``diff_id`` and ``size``. Sizes are bytes; a sum is unknown where a part is.
"""

from __future__ import annotations

from typing import NamedTuple


class Question(NamedTuple):
    """One question: its text, the columns of the answer, the SQL after the common tables, and whether it takes a pattern
    (``*`` matches any text)."""

    text: str
    columns: dict[str, str]
    sql: str
    pattern: bool = False


#: Tables that every question can use.
TABLES = """
WITH images AS (SELECT DISTINCT ON (image) * FROM read_parquet($index, union_by_name = true)),
layers AS (SELECT image, reference, unnest(layers, recursive := true) FROM images),
packages AS (SELECT image, reference, unnest(packages, recursive := true) FROM images),
sameness AS (SELECT CASE WHEN blobs THEN 'digest' ELSE 'diff_id' END AS identity,
    CASE WHEN blobs THEN 'content_size' ELSE 'size' END AS measure
    FROM (SELECT bool_and(content_size IS NOT NULL AND digest IS NOT NULL) AS blobs FROM layers)),
contained AS (SELECT image, reference, identity, measure, min(layer_index) AS layer_index,
    coalesce(CASE identity WHEN 'digest' THEN digest ELSE diff_id END, image || '#' || layer_index) AS layer,
    any_value(CASE measure WHEN 'size' THEN size ELSE content_size END) AS bytes
    FROM layers, sameness GROUP BY ALL),
stored AS (SELECT layer, identity, measure, any_value(bytes) AS bytes, count(*) AS images FROM contained GROUP BY ALL),
tops AS (SELECT image, reference, created, len(layers) AS depth, layers[-1].chain_id AS chain_id FROM images),
prefixes AS (SELECT own.image, arg_max(tops.reference, (tops.depth, -epoch_us(tops.created), tops.reference)) AS base,
    max(tops.depth) AS depth, arg_max(tops.created, (tops.depth, -epoch_us(tops.created), tops.reference)) AS created
    FROM layers own JOIN tops mine USING (image) JOIN tops ON tops.chain_id = own.chain_id
    WHERE own.layer_index < mine.depth - 1 GROUP BY own.image),
based AS (SELECT image, reference,
    coalesce(prefixes.base, base_name, CASE WHEN base_layers = 0 THEN '(from scratch)'
        WHEN base_layers > 0 THEN '(unnamed) ' || coalesce(layers[base_layers].chain_id, layers[base_layers].digest)[8:19]
        END, '(unknown)') AS base,
    CASE WHEN prefixes.base IS NOT NULL THEN 'prefix' WHEN base_name IS NOT NULL THEN 'label'
        WHEN base_layers IS NOT NULL THEN 'shape' ELSE 'unknown' END AS base_rule,
    coalesce(prefixes.depth, base_layers) AS base_layers, coalesce(prefixes.created, base_created) AS base_created
    FROM images LEFT JOIN prefixes USING (image))
"""
#: One image and layer index for each layer, so that the files of a shared layer are read once.
_REPRESENTED = """,
known AS (SELECT *, coalesce(diff_id, image || layer_index) AS layer FROM layers JOIN (SELECT image, listed FROM images)
    USING (image)),
counted AS (SELECT layer, min(image) FILTER (listed) AS first, arg_min(layer_index, image) FILTER (listed) AS layer_index,
    count(DISTINCT image) AS images FROM known GROUP BY layer),
every AS NOT MATERIALIZED (SELECT file.path, file.size, file.digest, counted.layer, counted.images,
    hash(file.path, file.size, file.digest) AS hash FROM read_parquet($snapshots, filename = true) file
    JOIN counted ON parse_filename(file.filename, true) = counted.first AND file.layer_index = counted.layer_index
    WHERE file.kind = 0),
rows AS NOT MATERIALIZED (SELECT * FROM every WHERE $pattern IS NULL OR -- the literal part first: it is faster
    contains(path::VARCHAR, $part) AND regexp_full_match(path::VARCHAR, $pattern))
"""

QUESTIONS = {
    "storage": Question(
        "bytes that a registry stores, and the sum over its images",
        {"images": "int64", "layers": "int64", "identity": "str", "measure": "str", "sum_of_images": "Int64", "stored": "Int64",
         "shared": "Int64", "unknown_layers": "int64"},
        """SELECT (SELECT count(*) FROM images) AS images, count(*) AS layers, any_value(identity) AS identity,
        any_value(measure) AS measure, sum(bytes * images) AS sum_of_images, sum(bytes) AS stored,
        sum(bytes * (images - 1)) AS shared, count(*) - count(bytes) AS unknown_layers FROM stored""",
    ),
    "sharing": Question(
        "for each image: bytes shared with others, and bytes freed if you delete it",
        {"reference": "str", "image": "str", "base": "str", "identity": "str", "measure": "str", "layers": "int64",
         "total": "Int64", "shared": "Int64", "unique": "Int64"},
        """SELECT contained.reference, image, any_value(base) AS base, any_value(contained.identity) AS identity,
        any_value(contained.measure) AS measure, count(*) AS layers,
        CASE WHEN count(contained.bytes) = count(*) THEN sum(contained.bytes) END AS total,
        CASE WHEN bool_and(contained.bytes IS NOT NULL OR images = 1)
            THEN sum(CASE WHEN images > 1 THEN contained.bytes ELSE 0 END) END AS shared,
        CASE WHEN count(contained.bytes) = count(*) THEN sum(CASE WHEN images = 1 THEN contained.bytes ELSE 0 END) END AS "unique"
        FROM contained JOIN stored USING (layer) JOIN based USING (image) GROUP BY contained.reference, image
        ORDER BY "unique" DESC, contained.reference""",
    ),
    "similarity": Question(
        "for each pair of images: bytes in both, as a share of the bytes in either",
        {"reference": "str", "other": "str", "identity": "str", "measure": "str", "shared": "Int64", "similarity": "Float64"},
        """, totals AS (SELECT image, CASE WHEN count(bytes) = count(*) THEN sum(bytes) END AS total
        FROM contained GROUP BY image),
        pairs AS (SELECT first.image AS a, other.image AS b, any_value(first.reference) AS reference,
        any_value(other.reference) AS other, any_value(first.identity) AS identity, any_value(first.measure) AS measure,
        CASE WHEN count(first.bytes) = count(*) THEN sum(first.bytes) END AS shared
        FROM contained first JOIN contained other USING (layer) GROUP BY ALL)
        SELECT reference, other, identity, measure, shared, CASE WHEN x.total + y.total = shared THEN 0
            ELSE shared / (x.total + y.total - shared) END AS similarity
        FROM pairs JOIN totals x ON x.image = a JOIN totals y ON y.image = b ORDER BY reference, other""",
    ),
    "layers": Question(
        "layers by number of images that contain them",
        {"diff_id": "string", "instruction": "string", "images": "int64", "size": "Int64", "content_size": "Int64"},
        """SELECT diff_id, any_value(instruction) AS instruction, count(DISTINCT image) AS images, any_value(size) AS size,
        any_value(content_size) AS content_size FROM layers GROUP BY diff_id ORDER BY images DESC, size DESC, diff_id""",
    ),
    "files": Question(
        "files stored in several layers (same path and content; same path and size where digests are unknown)",
        {"path": "str", "size": "int64", "digest": "string", "images": "int64", "layers": "int64", "extra_bytes": "int64"},
        # Group hashes first, since all paths together need much memory; then count the few candidates exactly.
        _REPRESENTED + """, best AS (SELECT hash FROM rows WHERE size > 0 GROUP BY hash, size
        HAVING $pattern IS NOT NULL OR count(*) > 1 ORDER BY size * (count(*) - 1) DESC, hash LIMIT 2000)
        SELECT path, size, 'sha256:' || lower(hex(digest)) AS digest, sum(images) AS images,
        count(*) AS layers, size * (count(*) - 1) AS extra_bytes
        FROM (SELECT DISTINCT path, size, digest, layer, images FROM every WHERE hash IN (SELECT hash FROM best))
        GROUP BY path, size, digest HAVING $pattern IS NOT NULL OR count(*) > 1
        ORDER BY extra_bytes DESC, images DESC, path LIMIT 1000""",
        pattern=True,
    ),
    "packages": Question(
        "package versions in use, and the number of images with each",
        {"manager": "str", "package": "str", "version": "string", "images": "int64", "size": "Int64"},
        """SELECT manager, package, version, count(DISTINCT image) AS images, max(size) AS size FROM packages
        WHERE $pattern IS NULL OR regexp_full_match(package, $pattern)
        GROUP BY ALL ORDER BY images DESC, manager, package, version""",
        pattern=True,
    ),
    "where": Question(
        "images with a package, by its manager's record or as a file of that name (stored, perhaps removed later)",
        {"reference": "str", "image": "str", "manager": "string", "package": "str", "version": "string",
         "layer_index": "int64", "from_base": "boolean"},
        """SELECT based.reference, image, manager, package, version, layer_index,
        layer_index < based.base_layers AS from_base FROM packages JOIN based USING (image)
        WHERE regexp_full_match(package, $pattern) AND ($version IS NULL OR version = $version)
        ORDER BY based.reference, manager, package, version""",
        pattern=True,
    ),
    "waste": Question(
        "wasted bytes, by the kind of instruction that stored them",
        {"instruction": "str", "reason": "str", "images": "int64", "copies": "int64", "bytes": "int64"},
        """SELECT instruction, reason, count(DISTINCT image) AS images, sum(copies) AS copies, sum(bytes) AS bytes
        FROM (SELECT image, unnest(waste, recursive := true) FROM images) GROUP BY ALL ORDER BY bytes DESC, instruction""",
    ),
    "bases": Question(
        "base images in use, their age, and what a single base for all would save (if nothing else changed)",
        {"base": "str", "base_rule": "str", "images": "int64", "layers": "Int64", "measure": "str", "size": "Int64",
         "created": "datetime64[us, UTC]", "age_days": "Int64", "saving": "Int64"},
        """, parts AS (SELECT DISTINCT base, layer, contained.bytes, contained.measure FROM based
        JOIN contained ON contained.image = based.image AND contained.layer_index < base_layers),
        every AS (SELECT CASE WHEN count(bytes) = count(*) THEN sum(bytes) END AS bytes
            FROM (SELECT DISTINCT layer, bytes FROM parts)),
        sizes AS (SELECT base, CASE WHEN count(bytes) = count(*) THEN sum(bytes) END AS size FROM parts GROUP BY base)
        SELECT base, any_value(base_rule) AS base_rule, count(*) AS images, max(base_layers) AS layers,
        (SELECT measure FROM sameness) AS measure, any_value(sizes.size) AS size, max(base_created) AS created,
        datediff('day', max(base_created), $now::TIMESTAMP) AS age_days,
        (SELECT bytes FROM every) - any_value(sizes.size) AS saving
        FROM based LEFT JOIN sizes USING (base) GROUP BY base ORDER BY images DESC, base""",
    ),
    "growth": Question(
        "growth of each repository from tag to tag, in order of creation",
        {"repository": "str", "tag": "string", "reference": "str", "created": "datetime64[us, UTC]", "measure": "str",
         "size": "Int64", "growth": "Int64"},
        """, sizes AS (SELECT image, any_value(measure) AS measure,
        CASE WHEN count(bytes) = count(*) THEN sum(bytes) END AS size FROM contained GROUP BY image)
        SELECT repository, tag, reference, created, measure, size,
        size - lag(size) OVER (PARTITION BY repository ORDER BY created, image) AS growth
        FROM images JOIN sizes USING (image) ORDER BY repository, created, image""",
    ),
}  # fmt: skip
#: The second part of "where": files of that name, in every layer that stores them.
WHERE_FILES = QUESTIONS["where"]._replace(
    sql=_REPRESENTED
    + """SELECT based.reference, image, 'file' AS manager, path AS package, NULL AS version, known.layer_index,
    known.layer_index < based.base_layers AS from_base
    FROM (SELECT DISTINCT path, layer FROM rows) JOIN known USING (layer) JOIN based USING (image)
    ORDER BY based.reference, path, known.layer_index""",
)
#: The base of each image, to join scan reports with in "findings".
BASED = Question(
    "the base of each image",
    {"image": "str", "base": "str"},
    "SELECT image, base FROM based ORDER BY image",
)
FINDINGS_BY_BASE = {
    "base": "str", "images": "int64", "findings": "int64", "critical": "int64", "high": "int64", "fixable": "int64"
}  # fmt: skip
