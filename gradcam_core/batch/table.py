"""Explanations as rows of Parquet files; the columns are the fields of docs/json.md and `doubt`."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gradcam_core.query import Query

_MAP = pa.list_(pa.list_(pa.float32()))
# Type of a default in Query -> type of its column; all others are texts.
_TYPES: dict[Any, pa.DataType] = {bool: pa.bool_(), float: pa.float64()}

RESULTS = pa.schema(
    {
        "schema_version": pa.int64(),
        "versions": pa.struct({"gradcam-core": pa.string(), "torch": pa.string()}),
        "source": pa.string(),
        **{field.name: _TYPES.get(type(field.default), pa.string()) for field in fields(Query)},
        "unknown_words": pa.list_(pa.string()),
        "score": pa.float64(),
        "probability": pa.float64(),
        "rank": pa.int64(),
        "no_evidence": pa.bool_(),
        "faint": pa.bool_(),
        "first_choice_max": pa.float64(),
        "unsure": pa.bool_(),
        "doubt": pa.string(),
        "predictions": pa.list_(pa.struct({"text": pa.string(), "probability": pa.float64()})),
        "words": pa.list_(pa.struct({"text": pa.string(), "log_prob": pa.float64(), "raw": _MAP})),
        "picture": pa.struct({"width": pa.int64(), "height": pa.int64()}),
        "box": pa.list_(pa.float64()),
        "position_known": pa.bool_(),
        "raw": _MAP,
        "raw_counterfactual": _MAP,
        "remarks": pa.list_(pa.string()),
        "concepts": pa.list_(
            pa.struct(
                {
                    "name": pa.string(),
                    "share": pa.float64(),
                    "top10_correct": pa.int64(),
                    "raw": _MAP,
                }
            )
        ),
    }
)

FAILURES = pa.schema({"source": pa.string(), "error": pa.string()})


def to_parquet(
    rows: Sequence[Mapping[str, Any]], schema: pa.Schema, metadata: Mapping[str, str] | None = None
) -> pa.Buffer:
    """Return rows as the content of a Parquet file."""
    content = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema.with_metadata(metadata)), content)
    return content.getvalue()


def read_rows(content: bytes, columns: Iterable[str]) -> list[dict[str, Any]]:
    """Return some columns of a Parquet file, one dictionary per row."""
    table = pq.read_table(pa.BufferReader(content), columns=list(columns))
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows
