"""What a shard adds up to, against a plain loop over its rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.io.exchange import EXCHANGE
from mixcurate.transforms.lineage import TRACED, _cuts, _sums, write_lineage

ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "copy": st.integers(0, 2),
            "n_tokens": st.integers(1, 900),
            "missed": st.none() | st.integers(0, 9),
            "domain": st.integers(0, 3),
            "source": st.sampled_from(["web", "books"]),
            "licence": st.sampled_from(["MIT", None]),
            "language": st.sampled_from(["en", "sv"]),
            "cell": st.integers(-1, 2),
        }
    ),
    min_size=1,
    max_size=30,
)


def batch_of(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    beside = {"id": "0" * 32, "path": "in.jsonl", "position": 7}
    schema = pa.schema([EXCHANGE.field(name) for name in TRACED])
    return pa.RecordBatch.from_pylist([beside | row for row in rows], schema=schema)


@given(ROWS)
@settings(max_examples=50, deadline=None)
def test_copies_tokens_and_tokens_of_first_copies_by_group(rows: list[dict[str, Any]]) -> None:
    sums = _sums(batch_of(rows))
    for by in ("domain", "source", "licence", "language", "cell"):
        wanted: dict[str, list[int]] = {}
        for row in rows:
            name = "unknown" if row[by] is None else str(row[by])
            total = wanted.setdefault(name, [0, 0, 0])
            tokens = row["n_tokens"]
            for place, n in enumerate((1, tokens, tokens if row["copy"] == 0 else 0)):
                total[place] += n
        assert sums[by] == wanted
    cuts: dict[str, list[int]] = {}
    for row in rows:
        if row["missed"] is not None:
            total = cuts.setdefault(str(row["cell"]), [0, 0])
            total[0] += 1
            total[1] += row["missed"]
    assert _cuts(batch_of(rows)) == cuts


def test_the_sums_stand_beside_the_lineage(tmp_path: Path) -> None:
    row = {"copy": 1, "n_tokens": 5, "missed": 2, "domain": 0, "source": "web"}
    rows = batch_of([row | {"licence": None, "language": "en", "cell": 1}])
    payload = {"part": 3, "split": "train", "shard": 3}
    written, told = write_lineage(str(tmp_path), payload, rows)
    assert told["lineage"] == written
    assert (tmp_path / written["path"]).stat().st_size == written["bytes"]
    assert (told["cut"], told["licence"]) == ({"1": [1, 2]}, {"unknown": [1, 5, 0]})
