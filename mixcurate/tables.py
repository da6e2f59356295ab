"""The Arrow schema of every table that touches disk, and what a document id is.

A stage writes parts; row *i* of ``embeddings``, ``assignments`` and ``scores`` belongs to row *i*
of the ``documents`` part of the same name.
"""

from __future__ import annotations

from typing import Literal

import pyarrow as pa

#: What a reader yields: one row a record of the input, before any cleaning.
RAW = pa.schema(
    [
        pa.field("position", pa.int64(), nullable=False),  # line, row or byte offset in the file
        pa.field("own_id", pa.string()),
        pa.field("text", pa.large_string(), nullable=False),
        pa.field("url", pa.string()),
        pa.field("licence", pa.string()),
        pa.field("metadata", pa.string()),  # JSON text of every other field
    ]
)

#: Columns of ``documents/part-*.parquet`` that every recipe has; ``signal_*`` columns follow.
DOCUMENT_FIELDS: list[pa.Field] = [
    pa.field("id", pa.string(), nullable=False),
    pa.field("text", pa.large_string(), nullable=False),
    pa.field("url", pa.string()),
    pa.field("source", pa.string(), nullable=False),
    pa.field("path", pa.string(), nullable=False),
    pa.field("position", pa.int64(), nullable=False),
    pa.field("language", pa.string(), nullable=False),
    pa.field("language_score", pa.float32(), nullable=False),
    pa.field("n_tokens", pa.int32(), nullable=False),
    pa.field("n_bytes", pa.int64(), nullable=False),
    pa.field("licence", pa.string()),
    pa.field("content_hash", pa.binary(16), nullable=False),
    pa.field("metadata", pa.string()),
]

#: ``rejected/part-*.parquet``: one row for each document or record that was dropped.
REJECTED = pa.schema(
    [
        pa.field("id", pa.string()),  # null where the record was too broken to have one
        pa.field("source", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("position", pa.int64(), nullable=False),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),  # a short stable word: what is counted
        pa.field("detail", pa.string(), nullable=False),  # the numbers behind it
        pa.field("excerpt", pa.string(), nullable=False),
        pa.field("n_bytes", pa.int64()),  # of its text; null where there was none
        pa.field("n_tokens", pa.int32()),  # null where it was dropped before tokens are counted
    ]
)

#: ``contamination/part-*.parquet``: one row for each pair of a document and an item it holds.
HITS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("position", pa.int64(), nullable=False),
        pa.field("set", pa.string(), nullable=False),
        pa.field("set_path", pa.string(), nullable=False),
        pa.field("item", pa.int64(), nullable=False),  # line or row of the file, from 0
        pa.field("matched", pa.int32(), nullable=False),  # different n-grams of the item found
        pa.field("overlap", pa.float32(), nullable=False),  # their share of the item's n-grams
        pa.field("excerpt", pa.string(), nullable=False),
    ]
)

_NEAREST = [
    pa.field("cluster", pa.int32(), nullable=False),  # -1: its vector is of no use
    pa.field("distance", pa.float32(), nullable=False),
]

#: Nearest cluster of each document of a part, before anything is pruned.
ASSIGNED = pa.schema(
    [
        *_NEAREST,
        pa.field("group", pa.int32(), nullable=False),  # its own, not its cluster's; -1: none
    ]
)

#: ``assignments/part-*.parquet``.
ASSIGNMENTS = pa.schema(
    [
        *_NEAREST,
        pa.field("domain", pa.int32(), nullable=False),  # -1: the document is not in the pool
    ]
)

#: ``domains.parquet``: one row for each domain.
DOMAINS = pa.schema(
    [
        pa.field("domain", pa.int32(), nullable=False),
        pa.field("domain_id", pa.string(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("keywords", pa.list_(pa.string()), nullable=False),
        pa.field("n_clusters", pa.int32(), nullable=False),
        pa.field("n_documents", pa.int64(), nullable=False),
        pa.field("n_tokens", pa.int64(), nullable=False),
        pa.field("mean_quality", pa.float64(), nullable=False),
        pa.field("mean_distance", pa.float64(), nullable=False),
        pa.field("std_distance", pa.float64(), nullable=False),
        pa.field("distance_p99", pa.float64(), nullable=False),
        pa.field("coherence", pa.float64(), nullable=False),
        pa.field("nearest", pa.list_(pa.int32()), nullable=False),
    ]
)

#: ``_stages/cluster/sample.parquet``: the documents of ``sample.npy``, in the same order.
SAMPLE = pa.schema(
    [
        pa.field("part", pa.string(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
    ]
)

#: Columns of one row of a corpus, in every format.
CORPUS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("text", pa.large_string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("url", pa.string()),
        pa.field("language", pa.string(), nullable=False),
        pa.field("licence", pa.string()),
        pa.field("domain", pa.int32(), nullable=False),
        pa.field("domain_name", pa.string(), nullable=False),
        pa.field("quality", pa.float32(), nullable=False),
        pa.field("diversity", pa.float32(), nullable=False),
        pa.field("copy", pa.int32(), nullable=False),
        pa.field("n_tokens", pa.int32(), nullable=False),
    ]
)

#: How a number of an embedding is stored.
EmbeddingKind = Literal["float16", "float32", "int8"]

#: Longest excerpt of a rejected document, in characters.
EXCERPT = 200


def documents_schema(signals: list[str]) -> pa.Schema:
    """Schema of ``documents/part-*.parquet`` with one float32 ``signal_*`` column per signal."""
    columns = [pa.field(f"signal_{name}", pa.float32(), nullable=False) for name in signals]
    return pa.schema(DOCUMENT_FIELDS + columns)


def embeddings_schema(dimension: int, kind: EmbeddingKind = "float16") -> pa.Schema:
    """Schema of ``embeddings/part-*.arrow``: one fixed-size list of numbers per document.

    Of int8, a vector is its integers times its ``scale``, a column that only this kind has.
    """
    item = pa.field("item", pa.type_for_alias(kind), nullable=False)
    fields = [pa.field("embedding", pa.list_(item, dimension), nullable=False)]
    if kind == "int8":
        fields.append(pa.field("scale", pa.float32(), nullable=False))
    return pa.schema(fields)


def export_schema(dimension: int) -> pa.Schema:
    """Schema of an export of embeddings to Parquet.

    float32, whatever the workdir has: Spark and cuDF have no half float, so that they cannot read
    Parquet's, and every value of the other kinds is a float32.
    """
    vector = pa.list_(pa.field("element", pa.float32(), nullable=False), dimension)
    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("embedding", vector, nullable=False),
        ]
    )


def scores_schema(dimensions: list[str]) -> pa.Schema:
    """Schema of ``scores/part-*.parquet`` with one float32 ``quality_*`` column per dimension."""
    quality = [pa.field(f"quality_{name}", pa.float32(), nullable=False) for name in dimensions]
    return pa.schema(
        [
            *quality,
            pa.field("quality", pa.float32(), nullable=False),
            pa.field("diversity", pa.float32(), nullable=False),
            pa.field("weight", pa.float32(), nullable=False),
            pa.field("copies", pa.int32(), nullable=False),
        ]
    )
