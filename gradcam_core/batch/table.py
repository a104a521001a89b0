"""Explanations as rows of a Parquet file; the columns are the fields of docs/json.md."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

_MAP = pa.list_(pa.list_(pa.float32()))

RESULTS = pa.schema(
    {
        "schema_version": pa.int64(),
        "versions": pa.struct({"gradcam-demo": pa.string(), "torch": pa.string()}),
        "source": pa.string(),
        "task": pa.string(),
        "model": pa.string(),
        "layer": pa.string(),
        "method": pa.string(),
        "detail": pa.float64(),
        "question": pa.string(),
        "unknown_words": pa.list_(pa.string()),
        "target": pa.string(),
        "score": pa.float64(),
        "probability": pa.float64(),
        "no_evidence": pa.bool_(),
        "hardly_any_evidence": pa.bool_(),
        "unsure": pa.bool_(),
        "predictions": pa.list_(pa.struct({"text": pa.string(), "probability": pa.float64()})),
        "words": pa.list_(pa.struct({"text": pa.string(), "log_prob": pa.float64(), "raw": _MAP})),
        "picture": pa.struct({"width": pa.int64(), "height": pa.int64()}),
        "box": pa.list_(pa.float64()),
        "raw": _MAP,
        "raw_counterfactual": _MAP,
        "remarks": pa.list_(pa.string()),
        "reasons": pa.list_(
            pa.struct(
                {
                    "name": pa.string(),
                    "share": pa.float64(),
                    "of_ten": pa.int64(),
                    "raw": _MAP,
                }
            )
        ),
    }
)

FAILURES = pa.schema({"source": pa.string(), "error": pa.string()})


def parquet(rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Buffer:
    """Return rows as the content of a Parquet file."""
    content = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema), content)
    return content.getvalue()


def rows(content: bytes, columns: Iterable[str]) -> list[dict[str, Any]]:
    """Return some columns of a Parquet file, a dictionary a row."""
    table = pq.read_table(pa.BufferReader(content), columns=list(columns))
    found: list[dict[str, Any]] = table.to_pylist()
    return found
