"""Of a large pool the report reads some parts, and says so; a small one it reads whole."""

from __future__ import annotations

import dataclasses
import random
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixcurate.io import partfiles
from mixcurate.io.workdir import Part, Success
from mixcurate.kernels.cluster_statistics import COUNTS
from mixcurate.transforms.cluster_files import counts_path
from pipelines import report_examples, report_groups, report_sample
from pipelines.report import write_report
from pipelines.report_data import gather
from pipelines.report_histograms import histograms
from pipelines.report_sample import sample_parts
from tests.corpora import DOCUMENTS, PARTS, Made, build

SAYS = "1 of 2 parts, picked by chance: 45 of 90 documents."


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return build(str(tmp_path))


@pytest.fixture
def one_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_sample, "MOST_PARTS", 1)


def text_of(made: Made) -> str:
    return re.sub(r"\s+", " ", Path(write_report(made.workdir, made.corpus)).read_text())


def ingested(made: Made) -> Success:
    found = made.workdir.success("ingest")
    assert found is not None
    return found


def part(name: str, documents: int) -> Part:
    return Part(name, documents, 0, "")


sizes = st.dictionaries(st.text("abcdef0123456789-", min_size=1), st.integers(0, 90_000))


@given(sizes, st.integers(0, 2**32 - 1), st.randoms())
def test_the_parts_are_bounded_and_do_not_go_with_their_order(
    documents: dict[str, int], seed: int, shuffle: random.Random
) -> None:
    parts = [part(name, n) for name, n in documents.items()]
    found = sample_parts(parts, seed)
    assert found.documents == sum(documents[name] for name in found.parts)
    assert (found.of_parts, found.of_documents) == (len(parts), sum(documents.values()))
    assert found.parts == [name for name in documents if name in set(found.parts)]
    assert bool(found.parts) == bool(parts)
    assert len(found.parts) <= 100
    assert found.documents <= 200_000
    assert found.whole == (found.of_documents <= 200_000 and len(parts) <= 100)
    shuffle.shuffle(parts)
    again = sample_parts(parts, seed)
    assert set(again.parts) == set(found.parts)
    assert [p.name for p in parts if p.name in set(found.parts)] == again.parts


def test_each_part_is_as_likely_as_another_and_the_seed_picks() -> None:
    parts = [part(f"p-{number:05}", 50_000) for number in range(20)]
    counts = dict.fromkeys([p.name for p in parts], 0)
    for seed in range(1_000):
        for name in sample_parts(parts, seed).parts:
            counts[name] += 1
    assert sum(counts.values()) == 4_000
    assert all(abs(count - 200) < 5 * 160**0.5 for count in counts.values())


def test_a_part_that_alone_is_too_large_is_read() -> None:
    found = sample_parts([part("a", 10**6), part("b", 10**6)], 1)
    assert (len(found.parts), found.documents, found.whole) == (1, 10**6, False)
    assert not sample_parts([], 1).parts


def test_a_small_pool_is_read_whole_and_nothing_is_said(made: Made) -> None:
    assert "picked by chance:" not in text_of(made)


@pytest.mark.usefixtures("one_part")
def test_the_report_says_what_it_has_read(made: Made) -> None:
    text = text_of(made)
    assert f"pruned documents have no weight. From {SAYS}" in text
    assert f"by tokens. Language, source, licence from {SAYS}" in text
    assert f"nearest to their cluster's centre. From {SAYS}" in text
    assert "95 in = 90 out + 5 rejected" in text  # what was added up stays exact


@pytest.mark.usefixtures("one_part")
def test_documents_come_from_the_parts_that_are_told(made: Made) -> None:
    found = gather(made.workdir, made.corpus)
    (name,) = found["sample"].parts
    assert all(sum(h.counts) == DOCUMENTS for h in found["histograms"] if h.name != "weight")
    examples = [example for domain in found["domains"] for example in domain["examples"]]
    assert len(examples) == 9
    assert all(f"#{name}." in example["text"] for example in examples)
    assert {row["documents"] for group in found["groups"] for row in group.rows} == {45, 23, 22}


def write_counts(made: Made, *, left_out: int) -> dict[str, dict[str, list[int]]]:
    """The counts of cluster over both parts, all documents but ``left_out`` French ones."""
    sums: dict[str, dict[str, list[int]]] = {"language": {}, "source": {}}
    for name in PARTS:
        table = partfiles.read_table(made.workdir.part("ingest", name))
        for row in table.to_pylist():
            for kind, values in sums.items():
                old = values.setdefault(row[kind], [0, 0])
                values[row[kind]] = [old[0] + 1, old[1] + row["n_tokens"]]
    rows = [
        {"cluster": n % 2, "kind": kind, "value": value, "n_documents": d, "n_tokens": t}
        for kind, values in sums.items()
        for value, (documents, tokens) in values.items()
        for n, (d, t) in enumerate([(1, 2), (documents - 1, tokens - 2)])
    ]
    rows.append(rows[0] | {"kind": "distance", "value": "3", "n_documents": 90})
    partfiles.write_table(counts_path(made.workdir), pa.Table.from_pylist(rows, COUNTS))
    success = ingested(made)
    more = dataclasses.replace(
        success, documents_out=success.documents_out + left_out, tokens=success.tokens + left_out
    )
    made.workdir.write_success("ingest", more)
    return sums


def tables(found: list[report_groups.Group]) -> dict[str, dict[str, list[int]]]:
    return {
        group.by: {row["name"]: [row["documents"], row["tokens"]] for row in group.rows}
        for group in found
    }


def test_what_cluster_has_counted_stays_exact(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = gather(made.workdir, made.corpus)["groups"]
    expected = write_counts(made, left_out=0)
    monkeypatch.setattr(report_sample, "MOST_PARTS", 1)
    found = gather(made.workdir, made.corpus)["groups"]
    assert [(group.by, group.sampled) for group in found] == [
        ("language", False),
        ("source", False),
        ("licence", True),
    ]
    assert found[:2] == whole[:2]
    assert {by: tables(found)[by] for by in expected} == expected
    assert f"by tokens. Licence from {SAYS}" in text_of(made)


@pytest.mark.usefixtures("one_part")
def test_documents_in_no_cluster_are_told(made: Made) -> None:
    write_counts(made, left_out=3)
    found = tables(gather(made.workdir, made.corpus)["groups"])
    assert found["language"]["in no cluster"] == [3, 3]
    assert found["source"]["in no cluster"] == [3, 3]


@pytest.mark.usefixtures("one_part")
def test_counts_of_other_documents_are_not_shown(made: Made) -> None:
    write_counts(made, left_out=-1)
    assert all(group.sampled for group in gather(made.workdir, made.corpus)["groups"])


def test_one_pass_counts_what_two_passes_count(made: Made) -> None:
    random_values = np.random.default_rng(3)
    for name in PARTS:
        path = made.workdir.part("score", name)
        table = partfiles.read_table(path)
        for at, column in enumerate(table.column_names[:-1]):
            values = random_values.gamma(2, 0.1, DOCUMENTS).astype(np.float32)
            values[random_values.random(DOCUMENTS) < 0.2] = 0
            table = table.set_column(at, table.schema.field(column), pa.array(values))
        partfiles.write_table(path, table)
    for found in histograms(made.workdir, list(PARTS)):
        values = np.concatenate(
            [
                partfiles.read_table(made.workdir.part("score", name))
                .column(found.name)
                .to_numpy()
                .astype(np.float64)
                for name in PARTS
            ]
        )
        values = values[values > 0] if found.name == "weight" else values
        low, high = values.min(), values.max()
        if found.name.startswith("quality"):
            low, high = 0.0, 1.0
        low = 0.0 if found.name == "weight" else low
        assert (found.low, found.high) == (low, high)
        assert found.counts == np.histogram(values, 40, (low, high))[0].tolist()
        assert found.mean == pytest.approx(values[(values >= low) & (values <= high)].mean())


def test_rejected_files_are_looked_through_up_to_a_number(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    table = partfiles.read_table

    def counted(path: str, columns: list[str] | None = None) -> pa.Table:
        read.append(path)
        return table(path, columns)

    monkeypatch.setattr(partfiles, "read_table", counted)
    monkeypatch.setattr(report_examples, "_MOST_FILES", 2)
    success = ingested(made)
    more = dataclasses.replace(success, rejected=success.rejected | {"rare": 1})
    first = table(made.workdir.rejected("extract", "a"))
    for name in "bcdef":
        partfiles.write_table(made.workdir.rejected("extract", name), first)
    found = {r["reason"]: r for r in report_examples.rejected(made.workdir, {"ingest": more})}
    assert len({path for path in read if "part-extract" in path}) == 2
    assert (found["rare"]["missed"], found["rare"]["examples"]) == (True, [])
    assert (found["empty"]["missed"], len(found["empty"]["examples"])) == (False, 2)
    assert len(found["filter_n_words"]["examples"]) == 3
