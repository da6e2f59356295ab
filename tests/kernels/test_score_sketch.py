from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.kernels import score_sketch
from mixcurate.kernels.score_sketch import BINS, Scored

ROWS = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sampled_from(["web", "books"]),
        st.integers(1, 1_000),
        st.floats(0, 1, width=32),
        st.floats(0, 1),
        st.floats(0, 1),
        st.floats(0, 20),
        st.integers(0, 21),
    ),
    max_size=40,
)


def scored(rows) -> Scored:
    domain, source, tokens, quality, unit, diversity, expected, copies = (
        zip(*rows, strict=True) if rows else [()] * 8
    )
    return Scored(
        np.array(domain, np.int32),
        pa.array(source, pa.string()),
        np.array(tokens, np.int64),
        np.array(quality, np.float32),
        np.array([unit, diversity], np.float64),
        np.array(expected, np.float64),
        np.array(copies, np.int32),
    )


def bin_of(value: float) -> int:
    return min(int(value * BINS), BINS - 1)


@given(ROWS)
@settings(max_examples=50, deadline=None)
def test_tables_are_what_counting_gives(rows):
    merged = score_sketch.sketch(scored(rows))
    keys = {
        "plane": lambda r: (r[0], bin_of(r[4]), bin_of(r[5])),
        "sources": lambda r: (r[1], bin_of(r[3])),
        "domains_quality": lambda r: (r[0], bin_of(r[3])),
        "copies": lambda r: (r[0], r[7]),
    }
    for name, key in keys.items():
        table = score_sketch.table_of(merged, name).to_pylist()
        names = list(score_sketch.TABLES[name].values())
        found = {tuple(row[n] for n in names): row for row in table}
        assert set(found) == {key(row) for row in rows}
        for place, row in found.items():
            mine = [r for r in rows if key(r) == place]
            assert row["n_documents"] == len(mine)
            assert row["n_tokens"] == sum(r[2] for r in mine)
            if name != "copies":
                assert row["copies"] == sum(r[7] for r in mine)
            assert row["copy_tokens"] == sum(r[7] * r[2] for r in mine)
            assert row["expected"] == pytest.approx(sum(r[6] for r in mine), abs=1e-4)
            tokens = sum(r[6] * r[2] for r in mine)
            assert row["expected_tokens"] == pytest.approx(tokens, abs=0.5)


@given(ROWS, st.integers(0, 40))
@settings(max_examples=50, deadline=None)
def test_sketches_merge_in_any_order(rows, cut):
    pieces = [score_sketch.sketch(scored(part)) for part in (rows[cut:], rows[:cut])]
    assert score_sketch.merge_sketches(pieces).equals(score_sketch.sketch(scored(rows)))
    assert score_sketch.merge_sketches([]).num_rows == 0
