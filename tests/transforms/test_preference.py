"""Sides and preferences of the documents of a small workdir, against plain sorting."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mixcurate.io import partfiles, storage
from mixcurate.io.embeddings import read_embeddings
from mixcurate.io.workdir import Heartbeat, Workdir
from mixcurate.kernels.cells import SIDES
from mixcurate.kernels.hashing import uniform_keys
from mixcurate.kernels.hosts import host_keys
from mixcurate.kernels.semantic import unit_grid
from mixcurate.kernels.target_likeness import distinct
from mixcurate.tables import ASSIGNMENTS
from mixcurate.transforms.preference import (
    PREFERENCE,
    Candidates,
    CountRanks,
    CutSides,
    GatherScores,
    PreferencePlan,
    PreferPart,
    merge_bins,
    merge_counts,
    preference_path,
    read_preference,
    stage_path,
    with_facts,
)
from mixcurate.transforms.tasks import Task
from tests.transforms.small_workdir import write_documents, write_vectors

PARTS = {"a": 120, "b": 80, "c": 1}  # the one document of c is not in the pool
SCORES = {"big.org": 0.9, "mid.com": 0.25, "small.net": 1e-9}


@pytest.fixture
def workdir(tmp_path: Path) -> Workdir:
    """Three parts whose documents are of four hosts, one of them without a score, or of none."""
    workdir = Workdir(str(tmp_path))
    random = np.random.default_rng(4)
    for part, n in PARTS.items():
        table = write_documents(workdir, part, n)
        hosts = [*SCORES, "unknown.io", None]
        urls = [h and f"https://www.{h}/{i}" for i, h in enumerate(random.choice(hosts, n))]
        place = table.column_names.index("url")
        table = table.set_column(place, "url", pa.array(urls, pa.string()))
        partfiles.write_table(workdir.part("ingest", part), table)
        write_vectors(workdir, part, random.normal(size=(n, 6)).astype(np.float32))
        domain = np.where(np.arange(n) % 5 == 0, -1, 0).astype(np.int32)
        columns = [np.zeros(n, np.int32), np.zeros(n, np.float32), domain]
        assigned = pa.Table.from_arrays([pa.array(c) for c in columns], schema=ASSIGNMENTS)
        partfiles.write_table(workdir.part("cluster", part), assigned)
        quality = pa.array(random.random(n).astype(np.float32))
        partfiles.write_table(workdir.part("score", part), pa.table({"quality": quality}))
    keys = host_keys(pa.array(list(SCORES)))
    order = np.argsort(keys)
    partfiles.write_array(stage_path(workdir, "hosts.npy"), keys[order])
    scores = np.array(list(SCORES.values()))[order]
    partfiles.write_array(stage_path(workdir, "scores.npy"), scores)
    return workdir


def run(workdir: Workdir, plan: PreferencePlan, parts: list[str] | None = None) -> None:
    """The step without Beam, part after part."""
    tasks = [Task(part, "f") for part in (list(PARTS) if parts is None else parts)]
    if plan.by == "centrality":
        gather, count = GatherScores(workdir, plan), CountRanks(workdir, plan)
        pick, cut = Candidates(workdir, plan), CutSides(workdir, plan)
        counts = merge_counts([one for part in PARTS for one in gather.process(part)])
        bins = merge_bins([one for part in PARTS for one in count.process(part, counts)])
        met = [one for part in PARTS for _, one in pick.process(part, counts, bins)]
        (limit,) = cut.process((0, met), counts, bins)
        tasks = [with_facts(task, counts, limit) for task in tasks]
    for task in tasks:
        PreferPart(workdir, plan).run(task, Heartbeat(workdir, PREFERENCE, task.name))


def everything(workdir: Workdir) -> dict[str, np.ndarray]:
    """The documents of the pool, of all parts."""
    columns: dict[str, list[np.ndarray]] = {}
    for part in PARTS:
        documents = partfiles.read_table(workdir.part("ingest", part))
        pool = partfiles.read_table(workdir.part("cluster", part)).column("domain").to_numpy() >= 0
        table = partfiles.read_table(preference_path(workdir, part))
        assert (table.column("preference").to_numpy()[~pool] == 0).all()
        urls = documents.column("url").to_pylist()
        found = {
            "tokens": documents.column("n_tokens").to_numpy(),
            "score": np.array([SCORES.get((u or "x/y/www.z").split("/")[2][4:], 0) for u in urls]),
            "key": uniform_keys(documents.column("id").combine_chunks(), 7, PREFERENCE),
            "quality": partfiles.read_table(workdir.part("score", part)).column(0).to_numpy(),
            "side": table.column("side").to_numpy(),
            "preference": table.column("preference").to_numpy(),
        }
        for name, values in found.items():
            columns.setdefault(name, []).append(values[pool])
    return {name: np.concatenate(values) for name, values in columns.items()}


@pytest.mark.parametrize("part", [0.0, 0.3, 0.5, 1.0])
def test_sides_are_cut_where_a_sort_cuts_them(workdir: Workdir, part: float) -> None:
    run(workdir, PreferencePlan("centrality", central_share=part, seed=7))
    found = everything(workdir)
    target = round(part * found["tokens"].sum())
    # the most central first, and of one host those with the greater hash
    order = np.lexsort((-found["key"].astype(np.float64), -found["score"]))
    reached = np.cumsum(found["tokens"][order])
    central = order[: np.searchsorted(reached, target) + 1 if target else 0]
    assert set(np.flatnonzero(found["side"]).tolist()) == set(central.tolist())
    outward = np.where(found["side"] == 1, 1, -1) * found["preference"]
    for side in (0, 1):
        mine = order[found["side"][order] == side]
        assert (np.diff(outward[mine]) < 0).all()
    assert ((found["preference"] > 0) & (found["preference"] <= 1)).all()
    about = storage.read_json(stage_path(workdir, "sides.json"))
    assert about["tokens"] == found["tokens"].sum()
    assert about["without_score"] == found["tokens"][found["score"] == 0].sum()


def test_quality_counts_beside_centrality_on_both_sides(workdir: Workdir) -> None:
    run(workdir, PreferencePlan("centrality", seed=7))
    plain = everything(workdir)
    run(workdir, PreferencePlan("centrality", with_quality=True, seed=7))
    found = everything(workdir)
    assert found["side"].tolist() == plain["side"].tolist()
    rank = np.where(plain["side"] == 1, plain["preference"], 1 - plain["preference"])
    asked = np.where(found["side"] == 1, found["quality"] * rank, found["quality"] / rank)
    for side in (0, 1):
        mine = np.flatnonzero(found["side"] == side)
        by_preference = mine[np.argsort(found["preference"][mine], kind="stable")]
        assert (np.diff(asked[by_preference]) >= -1e-9).all()


def test_likeness_is_that_to_the_nearest_text(workdir: Workdir) -> None:
    texts = distinct(np.random.default_rng(1).normal(size=(9, 6)))
    partfiles.write_array(stage_path(workdir, "texts.npy"), texts)
    run(workdir, PreferencePlan("likeness"))
    for part in PARTS:
        vectors = unit_grid(read_embeddings(workdir.part("embed", part))).astype(np.float64)
        pool = partfiles.read_table(workdir.part("cluster", part)).column("domain").to_numpy() >= 0
        expected = np.where(pool, (1 + (vectors @ texts.T.astype(np.float64)).max(axis=1)) / 2, 0)
        assert read_preference(workdir, part).tolist() == expected.tolist()
        side = partfiles.read_table(preference_path(workdir, part)).column("side").to_numpy()
        assert side.tolist() == np.where(pool, SIDES.index("ranked"), 0).tolist()


def test_a_part_that_is_done_again_is_the_same(workdir: Workdir) -> None:
    plan = PreferencePlan("centrality", seed=7)
    run(workdir, plan)
    before = {part: storage.digest(preference_path(workdir, part)) for part in PARTS}
    storage.remove(preference_path(workdir, "b"))
    run(workdir, plan, ["b"])
    assert {part: storage.digest(preference_path(workdir, part)) for part in PARTS} == before
