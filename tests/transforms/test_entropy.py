"""Entropies of the cells of a small workdir, against a plain count of the same texts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mixcurate.io import partfiles, storage
from mixcurate.io.workdir import Workdir
from mixcurate.kernels.cells import Membership, Partition
from mixcurate.kernels.entropy import EntropyKind, token_entropy, von_neumann
from mixcurate.models.tokenizer import token_counter
from mixcurate.tables import ASSIGNMENTS
from mixcurate.transforms import entropy
from mixcurate.transforms.cells import CellsOf
from mixcurate.transforms.entropy import (
    PIECE,
    EntropyPlan,
    entropy_path,
    write_entropies,
)
from tests.documents import real_documents
from tests.transforms.entropies import measured
from tests.transforms.small_workdir import write_vectors

DOMAINS = 2


def write_workdir(root: Path, split: int) -> tuple[Workdir, list[str], list[str]]:
    """The same documents in two parts, cut at ``split``; texts, and the names of the parts."""
    workdir = Workdir(str(root))
    texts = [document["text"] for document in real_documents(120)]
    texts += ["", " ".join(map(str, range(9_000))), "é" * 10]  # a long one is cut to pieces
    random = np.random.default_rng(4)
    vectors = random.normal(size=(len(texts), 6)).astype(np.float32)
    vectors[2] = np.nan
    bounds = {"a": slice(0, split), "b": slice(split, None)}
    for name, rows in bounds.items():
        mine = np.arange(len(texts))[rows]
        table = {"id": [f"doc-{row}" for row in mine], "text": texts[rows]}
        documents = pa.table(table, pa.schema({"id": pa.string(), "text": pa.large_string()}))
        partfiles.write_table(workdir.part("ingest", name), documents)
        write_vectors(workdir, name, vectors[rows])
        domain = np.where(mine % 5 == 0, -1, mine % DOMAINS).astype(np.int32)
        columns = [pa.array(domain), pa.array(np.zeros(len(mine), np.float32)), pa.array(domain)]
        assigned = pa.Table.from_arrays(columns, schema=ASSIGNMENTS)
        partfiles.write_table(workdir.part("cluster", name), assigned)
    return workdir, texts, list(bounds)


def plan_of(kind: EntropyKind, size: int, available: int) -> EntropyPlan:
    partition = Partition.of(("domain",), [(0,), (1,)])
    cells = CellsOf(partition, Membership(seed=5))
    return EntropyPlan(kind, cells, (available,) * DOMAINS, size, "embedded", seed=5)


def rows_of(texts: list[str], domain: int) -> list[int]:
    return [row for row in range(len(texts)) if row % 5 and row % DOMAINS == domain]


@pytest.mark.parametrize("kind", ["shannon", "joint", "conditional"])
def test_with_everything_in_the_sample_it_is_a_plain_count(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(entropy, "_ROWS", 7)
    workdir, texts, parts = write_workdir(tmp_path, 60)
    found = measured(workdir, plan_of(kind, 10**6, 10**6), parts)
    for domain in range(DOMAINS):
        pieces = [
            texts[row][start : start + PIECE]
            for row in rows_of(texts, domain)
            for start in range(0, len(texts[row]), PIECE)
        ]
        tokens = token_counter("embedded", 1).encode(pieces)
        assert found[domain] == [token_entropy(tokens, kind), sum(map(len, tokens))]


def test_the_vectors_of_a_cell_in_the_sample_are_all_or_so_many(tmp_path):
    workdir, texts, parts = write_workdir(tmp_path, 60)
    whole = measured(workdir, plan_of("von_neumann", 1_000, 1_000), parts)
    vectors = np.random.default_rng(4).normal(size=(len(texts), 6)).astype(np.float32)
    vectors[2] = np.nan
    for domain in range(DOMAINS):
        rows = rows_of(texts, domain)
        assert whole[domain] == [von_neumann(vectors[rows]), len(rows)]
    some = measured(workdir, plan_of("von_neumann", 9, 50), parts)
    assert [n for _, n in some.values()] == [9, 9]


@pytest.mark.parametrize(
    ("kind", "size", "available"),
    [("conditional", 2_000, 9_000), ("joint", 500, 10), ("von_neumann", 9, 50)],
)
def test_neither_parts_nor_their_order_matter(tmp_path, kind, size, available):
    results = []
    for name, split, order in [("x", 60, 1), ("y", 60, -1), ("z", 7, 1), ("w", 122, -1)]:
        workdir, _, parts = write_workdir(tmp_path / name, split)
        results.append(measured(workdir, plan_of(kind, size, available), parts[::order]))
    assert all(result == results[0] for result in results)
    assert all(n == size for _, n in results[0].values())


def test_held_out_documents_are_not_measured(tmp_path):
    workdir, _, parts = write_workdir(tmp_path, 60)
    partition = Partition.of(("domain",), [(0,), (1,)])
    cells = CellsOf(partition, Membership(seed=5, holdout=0.5))
    plan = EntropyPlan("shannon", cells, (10**6,) * 2, 10**6, "embedded", seed=5)
    whole = measured(workdir, plan_of("shannon", 10**6, 10**6), parts)
    assert all(measured(workdir, plan, parts)[n][1] < whole[n][1] for n in whole)


def test_they_are_left_with_what_they_were_made_of(tmp_path):
    workdir = Workdir(str(tmp_path))
    write_entropies({3: [1.5, 20]}, workdir, "mark")
    assert storage.read_json(entropy_path(workdir)) == {"mark": "mark", "cells": {"3": [1.5, 20]}}
