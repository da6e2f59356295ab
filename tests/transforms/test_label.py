"""The domain of each document, and why one has none."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mixcurate.io import partfiles
from mixcurate.io.workdir import Heartbeat, Workdir
from mixcurate.kernels import fixedpoint
from mixcurate.kernels.prototypes import Limit
from mixcurate.tables import ASSIGNMENTS
from mixcurate.transforms import label
from mixcurate.transforms.cluster import assigned_path
from mixcurate.transforms.cluster_files import CLUSTER
from mixcurate.transforms.label import (
    LabelPart,
    LabelRules,
    domain_of_group_path,
    domain_of_path,
    domain_sums_path,
)
from mixcurate.transforms.quality_columns import read_carried, read_overall
from mixcurate.transforms.tasks import Task, check_accounting
from tests.transforms.small_workdir import write_assigned, write_documents

RULES = LabelRules(
    bounds=(), n_domains=2, unit=2.0, grouped=False, dedup=False, prototypes=None, seed=3
)
CLUSTERS = [0, 1, 2, 0, -1, 2, 1, 0]
DISTANCES = [0.1, 0.2, 0.3, 0.4, float("nan"), 0.6, 0.7, 0.8]


@pytest.fixture
def workdir(tmp_path: Path) -> Workdir:
    """Eight documents of three clusters; cluster 1 is pruned, and one vector is of no use."""
    made = Workdir(str(tmp_path))
    write_documents(made, "a", len(CLUSTERS))
    write_assigned(made, assigned_path(made, "a"), CLUSTERS, DISTANCES)
    partfiles.write_array(domain_of_path(made), np.array([[1], [-1], [0]], np.int32))
    table = {
        "drop_reason": [None, "low_quality", None],
        "drop_detail": [None, "fluency 0.2 < 0.5", None],
    }
    partfiles.write_table(made.path("clusters.parquet"), pa.table(table))
    return made


def run(workdir: Workdir, rules: LabelRules) -> tuple[label.TaskResult, list[int], list[dict]]:
    task = Task("a", "f")
    result = LabelPart(workdir, rules).run(task, Heartbeat(workdir, CLUSTER, "a"))
    check_accounting("label", result)
    assigned = partfiles.read_table(workdir.part(CLUSTER, "a"))
    assert assigned.schema.equals(ASSIGNMENTS)
    assert assigned.column("cluster").to_pylist() == CLUSTERS
    rejected = partfiles.read_table(workdir.rejected(CLUSTER, "a")).to_pylist()
    return result, assigned.column("domain").to_pylist(), rejected


def test_documents_get_the_domain_of_their_cluster_or_a_reason(workdir: Workdir) -> None:
    result, domain, rejected = run(workdir, RULES)
    assert domain == [1, -1, 0, 1, -1, 0, -1, 1]
    assert [(row["id"], row["reason"]) for row in rejected] == [
        ("a-0001", "low_quality_cluster"),
        ("a-0004", "invalid_embedding"),
        ("a-0006", "low_quality_cluster"),
    ]
    assert rejected[0]["detail"] == "cluster 1: fluency 0.2 < 0.5"
    assert (result.documents_in, result.documents_out) == (8, 5)
    assert result.rejected == {"low_quality_cluster": 2, "invalid_embedding": 1}
    documents = partfiles.read_table(workdir.part("ingest", "a")).to_pylist()
    assert result.tokens == sum(documents[row]["n_tokens"] for row in (0, 2, 3, 5, 7))
    assert result.rejected_sizes["invalid_embedding"][1] == documents[4]["n_tokens"]


def test_sums_are_of_the_documents_that_have_the_domain(workdir: Workdir) -> None:
    run(workdir, RULES)
    sums = dict(
        zip(label.DOMAIN_SUMS, partfiles.read_array(domain_sums_path(workdir, "a")), strict=True)
    )
    score = read_overall(workdir, "a")
    for number, rows in ((0, [2, 5]), (1, [0, 3, 7])):
        far = np.array(DISTANCES, np.float32)[rows].astype(np.float64)
        assert sums["n_documents"][number] == len(rows)
        assert fixedpoint.from_fixed(sums["quality"])[number] == pytest.approx(
            score[rows].sum(), abs=1e-6
        )
        assert fixedpoint.from_fixed(sums["distance"])[number] * 2 == pytest.approx(far.sum())
        squared = fixedpoint.from_fixed(sums["squared_distance"])[number] * 4
        assert squared == pytest.approx((far**2).sum())


def test_tiers_divide_by_quality(workdir: Workdir) -> None:
    score = read_overall(workdir, "a")
    bound = float(np.median(score[[0, 3, 7]]))
    partfiles.write_array(domain_of_path(workdir), np.array([[2, 3], [-1, -1], [0, 1]], np.int32))
    rules = dataclasses.replace(RULES, bounds=(bound,), n_domains=4)
    _, domain, _ = run(workdir, rules)
    for row, number in enumerate(domain):
        if number >= 0:
            base = {0: 1, 2: 0}[CLUSTERS[row]]
            assert number == base * 2 + (score[row] >= bound)


def test_a_document_may_be_of_another_domain_than_its_cluster(workdir: Workdir) -> None:
    groups = [0, 0, 0, 1, 1, 2, 0, -1]
    table = partfiles.read_table(assigned_path(workdir, "a"))
    column = table.schema.get_field_index("group")
    partfiles.write_table(
        assigned_path(workdir, "a"), table.set_column(column, "group", pa.array(groups, pa.int32()))
    )
    partfiles.write_array(domain_of_group_path(workdir), np.array([[0], [1], [-1]], np.int32))
    _, domain, _ = run(workdir, dataclasses.replace(RULES, grouped=True))
    # of a dropped cluster never; of a group without a domain, or of none, as its cluster
    assert domain == [0, -1, 0, 1, -1, 0, -1, 1]


def test_duplicates_and_prototypes_are_dropped_once(
    workdir: Workdir, monkeypatch: pytest.MonkeyPatch
) -> None:
    drops = (np.array([0, 1]), ["a-0003", "a-0006"], np.array([0.99, 0.98], np.float32))
    monkeypatch.setattr(label, "read_drops", lambda *_: drops)
    bits = int(np.float32(0.4).view(np.uint32))
    rules = dataclasses.replace(RULES, dedup=True, prototypes=Limit(bits, 2**64 - 1))
    result, domain, rejected = run(workdir, rules)
    assert domain == [-1, -1, -1, -1, -1, 0, -1, 1]
    by_id = {row["id"]: (row["reason"], row["detail"]) for row in rejected}
    assert by_id["a-0000"] == ("semantic_duplicate", "cosine 0.9900 to a-0003")
    assert by_id["a-0001"][0] == "low_quality_cluster"  # the first reason that holds
    assert by_id["a-0003"] == ("prototype", "distance 0.4000 to the centroid of cluster 0")
    assert result.rejected["prototype"] == 2


def test_numbers_that_documents_carry_are_read_from_their_metadata(tmp_path: Path) -> None:
    workdir = Workdir(str(tmp_path))
    table = write_documents(workdir, "a", 4)
    odd = ['{"edu score": "3.5"}', "{}", '{"edu score": [1]}', None]
    column = table.schema.get_field_index("metadata")
    partfiles.write_table(
        workdir.part("ingest", "a"), table.set_column(column, "metadata", pa.array(odd))
    )
    found = read_carried(workdir, "a", ["edu score", "absent"])
    np.testing.assert_array_equal(found["edu score"], np.float32([3.5, np.nan, np.nan, np.nan]))
    assert np.isnan(found["absent"]).all()
    assert read_carried(workdir, "a", []) == {}
