from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.kernels import cell_counts, fixedpoint, tiers
from mixcurate.kernels.cell_counts import Counted
from mixcurate.kernels.cells import Membership, Partition, cell_numbers

SOURCES = ["books", "web", "a:b", "überall", ""]
ROWS = st.lists(
    st.tuples(st.sampled_from([*SOURCES, None]), st.integers(0, 4), st.integers(0, 900)),
    max_size=30,
)


def columns(rows: list[tuple[str | None, int, int]]) -> dict[str, pa.Array]:
    return {
        "source": pa.array([row[0] for row in rows], pa.string()),
        "domain": pa.array([row[1] for row in rows], pa.int32()),
        "cluster": pa.array([row[2] for row in rows], pa.int32()),
    }


def path(row: tuple[str | None, int, int]) -> tuple[str | int, ...]:
    return ("unknown" if row[0] is None else row[0], row[1], row[2])


@given(ROWS, ROWS)
@settings(max_examples=100, deadline=None)
def test_each_document_lies_in_the_cell_of_its_path(known, rows):
    paths = sorted({path(row) for row in known})
    partition = Partition.of(("source", "domain", "cluster"), paths[::-1])
    found = cell_numbers(partition, columns(rows))
    assert found.dtype == np.int32
    assert found.tolist() == [paths.index(path(row)) if path(row) in paths else -1 for row in rows]
    coded = {name: column.dictionary_encode() for name, column in columns(rows).items()}
    assert cell_numbers(partition, coded).tolist() == found.tolist()


def test_cells_follow_their_paths_and_have_names():
    paths = [("web", 0), ("books", 1), ("books", 0)]
    partition = Partition.of(("source", "domain"), paths, (), ("law", "sport"))
    assert partition.paths == (("books", 0), ("books", 1), ("web", 0))
    assert partition.names == ("books:law", "books:sport", "web:law")
    assert partition.label(1) == "source:domain 'books:sport'"
    assert partition.values("source") == ["books", "web"]
    alone = Partition.of(("domain",), [(1,), (0,)], (), ("law", "sport"))
    assert alone.label(1) == "domain 1 ('sport')"
    assert Partition.of(("side",), [(0,), (1,)]).names == ("peripheral", "central")
    assert Partition.of(("side",), [(2,)]).label(0) == "side 'ranked'"


def test_a_hundred_thousand_cells_are_numbered_in_one_go():
    n = 100_000
    partition = Partition.of(("source", "cluster"), [(f"s{i % 7}", i) for i in range(n)])
    order = np.random.default_rng(0).permutation(n)
    found = cell_numbers(
        partition,
        {
            "source": pa.array([f"s{i % 7}" for i in order.tolist()]),
            "cluster": pa.array(order.astype(np.int32)),
        },
    )
    assert [partition.paths[cell] for cell in found[:50].tolist()] == [
        (f"s{i % 7}", i) for i in order[:50].tolist()
    ]
    assert sorted(found.tolist()) == list(range(n))


def test_no_cells_and_no_documents():
    empty = {"source": pa.array([], pa.string())}
    assert cell_numbers(Partition.of(("source",), [("a",)]), empty).tolist() == []
    assert cell_numbers(Partition.of(("source",), []), {"source": pa.array(["a"])}).tolist() == [-1]


def test_the_holdout_and_the_subsample_are_independent_shares_of_the_documents():
    ids = pa.array([f"document {i}" for i in range(20_000)])
    members = Membership(5, holdout=0.2, subsample=0.3)
    held, left = members.held_out(ids), members.left_out(ids)
    assert held.mean() == pytest.approx(0.2, abs=0.01)
    assert left.mean() == pytest.approx(0.7, abs=0.01)
    assert (held & left).mean() == pytest.approx(0.14, abs=0.01)
    smaller = Membership(5, holdout=0.1, subsample=0.1)
    assert (smaller.held_out(ids) <= held).all()  # a larger share keeps what a smaller one has
    assert (left <= smaller.left_out(ids)).all()
    assert (Membership(6, 0.2).held_out(ids) != held).any()
    assert Membership(5).everyone
    assert not Membership(5).held_out(ids).any()
    assert not Membership(5).left_out(ids).any()
    pool = np.arange(len(ids)) % 3 > 0
    of = members.of(pool, ids)
    assert (of.left_out == (pool & left)).all()
    assert (of.held_out == (pool & held & ~left)).all()
    assert (of.drawable.astype(int) + of.held_out + of.left_out == pool).all()
    assert (Membership(5).of(pool, ids).drawable == pool).all()


def test_a_tier_is_how_many_cuts_the_quality_reaches():
    quality = np.array([0, 0.25, 0.3, 0.5, 0.99, 1], np.float32)
    assert tiers.tiers(quality, [0.25, 0.5]).tolist() == [0, 1, 1, 2, 2, 2]


QUALITIES = st.lists(
    st.tuples(st.floats(0, 1, width=32), st.integers(0, 1_000)), min_size=1, max_size=40
).filter(lambda rows: any(tokens for _, tokens in rows))


@given(QUALITIES, st.lists(st.floats(0.01, 0.99), min_size=1, max_size=4, unique=True))
@settings(max_examples=100, deadline=None)
def test_cuts_by_rank_are_as_near_as_bins_allow(rows, ranks):
    ranks = sorted(ranks)
    quality = np.array([row[0] for row in rows], np.float32)
    tokens = np.array([row[1] for row in rows], np.int64)
    histogram = tiers.quality_histogram(quality, tokens)
    cuts = tiers.cuts_at_ranks(histogram, ranks)
    total = tokens.sum()
    # brute force: every place between two bins is tried
    bins = quality.view(np.int32) >> 12
    possible = {int(tokens[bins < edge].sum()) for edge in {0, 2**31 - 1, *bins.tolist()}}
    for cut, rank in zip(cuts, ranks, strict=True):
        below = int(tokens[quality < cut].sum())
        assert abs(below - rank * total) <= min(abs(p - rank * total) for p in possible) + 1e-6
    assert list(cuts) == sorted(cuts)


@given(QUALITIES, st.integers(0, 40))
@settings(max_examples=30, deadline=None)
def test_histograms_of_qualities_merge(rows, cut):
    quality = np.array([row[0] for row in rows], np.float32)
    tokens = np.array([row[1] for row in rows], np.int64)
    whole = tiers.quality_histogram(quality, tokens)
    pieces = [
        tiers.quality_histogram(quality[rows], tokens[rows])
        for rows in (slice(cut, None), slice(0, cut))
    ]
    assert tiers.merge_qualities(pieces).tobytes() == whole.tobytes()


@given(ROWS, st.integers(0, 30), st.booleans())
@settings(max_examples=50, deadline=None)
def test_counts_are_those_of_a_loop_whatever_the_parts(rows, cut, weighted):
    levels = ("source", "domain")

    def counted(some: list[tuple[str | None, int, int]]) -> pa.Table:
        tokens = np.array([row[2] for row in some], np.int64)
        quality = (tokens / 900).astype(np.float32)
        weight = (tokens + 1).astype(np.float32) if weighted else None
        given = {level: columns(some)[level] for level in levels}
        return cell_counts.count(given, Counted(tokens, quality, tokens * 3, weight))

    merged = cell_counts.merge_counts([counted(rows[cut:]), counted(rows[:cut])], levels)
    assert merged.equals(cell_counts.merge_counts([counted(rows)], levels))
    assert weighted or set(merged.column("bin").to_pylist()) <= {0}
    found = cell_counts.by_cell(merged, levels).to_pylist()
    for row in found:
        mine = [r for r in rows if path(r)[:2] == (row["source"], row["domain"])]
        sizes = [r[2] for r in mine]
        assert (row["documents"], row["tokens"]) == (len(sizes), sum(sizes))
        assert row["largest"] == max(sizes)
        assert row["weighted"] == 3 * sum(sizes)
        mean = fixedpoint.from_fixed(np.array([row["quality"]]))[0]
        assert mean == pytest.approx(sum(sizes) / 900, rel=1e-6, abs=1e-9)
    assert len(found) == len({path(row)[:2] for row in rows})
