"""What the draw reads of a part, against the tables that it comes from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mixcurate.io import partfiles, storage
from mixcurate.io.workdir import Workdir
from mixcurate.kernels.cells import Membership, Partition, cell_numbers
from mixcurate.kernels.hashing import uniform_keys
from mixcurate.transforms.cells import read_cells, read_members
from mixcurate.transforms.draw_pool import PoolPlan, pool_path, read_pool, write_pool
from mixcurate.transforms.pool import DRAW

N = 300
CUTS = (0.3, 0.7)


@pytest.fixture
def workdir(tmp_path: Path) -> Workdir:
    """One part, with documents of pruned clusters and without a licence."""
    found, random = Workdir(str(tmp_path)), np.random.default_rng(2)
    documents = {
        "id": [f"{row:032x}" for row in range(N)],
        "source": random.choice(["web", "books"], N).tolist(),
        "licence": pa.array(random.choice(["MIT", "CC-BY-4.0", None], N).tolist(), pa.string()),
        "n_tokens": random.integers(1, 900, N).astype(np.int32),
        "n_bytes": random.integers(1, 9_000, N),
    }
    partfiles.write_table(found.part("ingest", "a"), pa.table(documents))
    domain = random.integers(-1, 4, N).astype(np.int32)
    partfiles.write_table(
        found.part("cluster", "a"), pa.table({"cluster": domain + 9, "domain": domain})
    )
    scores = {name: random.random(N).astype(np.float32) for name in ("quality", "weight")}
    partfiles.write_table(found.part("score", "a"), pa.table(scores))
    return found


@pytest.mark.parametrize("levels", [("domain",), ("tier", "licence"), ("source", "cluster")])
@pytest.mark.parametrize("membership", [Membership(5), Membership(5, 0.2, 0.5)])
def test_cells_and_members_are_those_of_the_tables(
    workdir: Workdir, levels: tuple[str, ...], membership: Membership
) -> None:
    write_pool(workdir, "a", PoolPlan(levels, membership), CUTS)
    pool = read_pool(workdir, "a")
    known = {level: values.to_pylist() for level, values in pool.levels.items()}
    paths = set(zip(*(known[level] for level in levels), strict=True)) - {(-1,)}
    partition = Partition.of(levels, paths, CUTS)
    cells = np.where(pool.members.drawable, cell_numbers(partition, pool.levels), -1)
    assert cells.tolist() == read_cells(workdir, "a", partition, membership).tolist()
    assert (cells >= 0).any()
    members = read_members(workdir, "a", membership)
    for name in ("drawable", "held_out", "left_out"):
        assert getattr(pool.members, name).tolist() == getattr(members, name).tolist()
        assert getattr(members, name).any() == (name == "drawable" or not membership.everyone)


def test_every_column_is_kept_as_it_is(workdir: Workdir) -> None:
    plan = PoolPlan(("domain",), Membership(5), "weight", {"MIT": 4.0})
    made = write_pool(workdir, "a", plan, ())
    pool = read_pool(workdir, "a")
    documents = partfiles.read_table(workdir.part("ingest", "a"))
    scores = partfiles.read_table(workdir.part("score", "a"))
    ids = documents.column("id").combine_chunks()
    wanted = {
        "tokens": documents["n_tokens"],
        "n_bytes": documents["n_bytes"],
        "domain": partfiles.read_table(workdir.part("cluster", "a"))["domain"],
        "quality": scores["quality"],
        "weight": scores["weight"],
        "key": uniform_keys(ids, 5, DRAW),
        "shuffle": uniform_keys(ids, 5, "shuffle"),
        "factor": [4.0 if one == "MIT" else 1.0 for one in documents["licence"].to_pylist()],
    }
    for name, values in wanted.items():
        assert getattr(pool, name).tolist() == np.asarray(values).tolist(), name
        assert getattr(made, name).tolist() == getattr(pool, name).tolist()
    alike = write_pool(workdir, "a", PoolPlan(("domain",), Membership(5)), ())
    assert (alike.weight, alike.factor) == (None, None)


def test_the_draw_needs_its_file_and_no_table(workdir: Workdir) -> None:
    write_pool(workdir, "a", PoolPlan(("source",), Membership(5)), ())
    for stage in ("ingest", "cluster", "score"):
        storage.remove(workdir.part(stage, "a"))
    assert len(read_pool(workdir, "a").key) == N
    assert storage.list_names(pool_path(workdir)) == ["part-a.arrow"]
