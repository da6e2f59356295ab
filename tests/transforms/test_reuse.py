from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from mixcurate.io import partfiles, storage
from mixcurate.io.embeddings import EmbeddingsWriter
from mixcurate.io.workdir import Workdir
from mixcurate.kernels.copies import COPY, hash_words
from mixcurate.kernels.hashing import content_hashes
from mixcurate.transforms import reuse
from mixcurate.transforms.runner import BeamArgs, make_pipeline

ARGS = BeamArgs("FnApiRunner", (), 1, None)
Texts = dict[str, list[str]]


def hashes(texts: list[str]) -> pa.Array:
    return content_hashes(pa.array(texts, pa.large_string()))


def vector(text: str) -> list[float]:
    return [float(len(text)), float(sum(text.encode()) % 512)]


def write_vectors(path: str, texts: list[str]) -> None:
    with EmbeddingsWriter(path, 2) as writer:
        writer.write(np.array([vector(text) for text in texts], np.float32))


def own(workdir: Workdir, parts: Texts) -> reuse.Origin:
    for name, texts in parts.items():
        table = pa.table({"content_hash": hashes(texts)})
        partfiles.write_table(workdir.part("ingest", name), table)
    return reuse.Origin(
        vectors=workdir.path("embeddings"),
        hashes="",
        parts=tuple(parts),
        documents=sum(map(len, parts.values())),
        seal="own",
        computed=reuse.computed_folder(workdir),
    )


def other(root: str, parts: Texts) -> reuse.Origin:
    for name, texts in parts.items():
        write_vectors(storage.join(root, "embeddings", f"part-{name}.arrow"), texts)
        partfiles.write_array(reuse.hashes_path(root, name), hash_words(hashes(texts)))
    return reuse.Origin(
        vectors=storage.join(root, "embeddings"),
        hashes=reuse.hashes_folder(root),
        parts=tuple(parts),
        documents=sum(map(len, parts.values())),
        seal="other",
    )


def find(workdir: Workdir, *origins: reuse.Origin) -> None:
    pipeline = make_pipeline(ARGS, job_name="x", work_seconds=0)
    reuse.FindCopies(workdir, origins, "the mark").build(pipeline)
    pipeline.run().wait_until_finish()


def test_each_row_is_copied_from_the_best_place(folder: str) -> None:
    workdir = Workdir(storage.join(folder, "own"))
    mine = own(workdir, {"z": ["a", "b", "b"], "m": ["c", "b", "new", "d"], "n": ["fresh"]})
    one = other(storage.join(folder, "one"), {"x": ["d", "c"]})
    two = other(storage.join(folder, "two"), {"x": ["no"], "y": ["c", "a"]})
    find(workdir, mine, one, two)
    assert reuse.read_copies(workdir, "z").tolist() == [(0, 0, 2, 1, 1), (0, 2, 0, 0, 1)]
    assert reuse.read_copies(workdir, "m").tolist() == [
        (1, 0, 1, 0, 1),
        (1, 1, 0, 0, 1),
        (1, 3, 1, 0, 0),
    ]
    assert reuse.read_copies(workdir, "n").tolist() == []
    assert reuse.read_copies(workdir, "n").dtype == COPY
    assert storage.list_names(reuse.copies_folder(workdir)) == ["part-m.npy", "part-z.npy"]
    assert storage.read_json(reuse.found_path(workdir)) == {
        "mark": "the mark",
        "parts": ["z", "m", "n"],
        "counts": {
            "z": {"others": 1, "within": 1, "later": 0},
            "m": {"others": 2, "within": 0, "later": 1},
        },
    }


def test_that_nothing_is_copied_is_committed_too(tmp_path: Path) -> None:
    workdir = Workdir(str(tmp_path))
    find(workdir, own(workdir, {"a": ["x"], "b": ["y"]}))
    found = storage.read_json(reuse.found_path(workdir))
    assert found == {"mark": "the mark", "parts": ["a", "b"], "counts": {}}


@pytest.mark.parametrize(("group", "bucket"), [(1, 1), (2, 7), (16, 10**6)])
def test_groups_and_buckets_do_not_change_what_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: int, bucket: int
) -> None:
    monkeypatch.setattr(reuse, "_GROUP", group)
    monkeypatch.setattr(reuse, "_BUCKET_DOCUMENTS", bucket)
    random = np.random.default_rng(5)
    workdir = Workdir(str(tmp_path / "own"))
    texts = {f"{p}": [f"t{t}" for t in random.integers(0, 60, 12)] for p in range(5)}
    old = {f"{p}": [f"t{t}" for t in random.integers(30, 90, 12)] for p in range(3)}
    origins = own(workdir, texts), other(str(tmp_path / "other"), old)
    find(workdir, *origins)

    first: dict[str, tuple[int, int, int]] = {}
    for number, parts in ((1, old), (0, texts)):
        for part, found in enumerate(parts.values()):
            for row, text in enumerate(found):
                first.setdefault(text, (number, part, row))
    for part, (name, found) in enumerate(texts.items()):
        expected = [
            (part, row, *first[text])
            for row, text in enumerate(found)
            if first[text] != (0, part, row)
        ]
        assert reuse.read_copies(workdir, name).tolist() == expected


def crossing(origins: tuple[reuse.Origin, ...], workdir: Workdir) -> list[tuple[int, int]]:
    """(bucket, records) of each element that meets others."""
    reader = reuse.ReadHashes(workdir, origins, 3)
    return [
        (bucket, len(data) // 28)
        for number in range(len(origins))
        for bucket, data in reader.process((number, 0))
    ]


def test_few_elements_cross_the_shuffle_however_many_rows_there_are(tmp_path: Path) -> None:
    workdir = Workdir(str(tmp_path))
    texts = {f"{p}": [f"{p} {row}" for row in range(500)] for p in range(4)}
    elements = crossing((own(workdir, texts),), workdir)
    assert sorted(bucket for bucket, _ in elements) == [0, 1, 2]
    assert sum(rows for _, rows in elements) == 2_000


def test_the_search_runs_in_processes(tmp_path: Path) -> None:
    """Everything that is sent to a worker can be sent."""
    workdir = Workdir(str(tmp_path / "own"))
    mine, old = own(workdir, {"a": ["x", "y"]}), other(str(tmp_path / "other"), {"b": ["y"]})
    args = BeamArgs("FnApiRunner", (), 2, "multi_processing")
    pipeline = make_pipeline(args, job_name="x", work_seconds=0)
    reuse.FindCopies(workdir, (mine, old), "m").build(pipeline)
    pipeline.run().wait_until_finish()
    assert reuse.read_copies(workdir, "a").tolist() == [(0, 1, 1, 0, 0)]


def copies(*records: tuple[int, int, int, int, int]) -> npt.NDArray[np.void]:
    return np.array(list(records), COPY)


def test_copies_are_told_apart_by_when_they_can_be_filled() -> None:
    found = copies((3, 0, 1, 3, 9), (3, 1, 0, 3, 2), (3, 4, 0, 2, 0), (3, 5, 2, 0, 0))
    sources = reuse.by_source(found)
    assert sources.others["row"].tolist() == [0, 5]
    assert sources.within["row"].tolist() == [1]
    assert sources.later["row"].tolist() == [4]
    assert [len(part) for part in reuse.by_source(copies())] == [0, 0, 0]


def test_vectors_are_gathered_into_their_rows(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    workdir = Workdir(storage.join(folder, "own"))
    old = {"x": ["one", "three", "seven"], "y": ["eleven"]}
    origins = own(workdir, {}), other(storage.join(folder, "other"), old)
    read: list[str] = []
    true = reuse.read_rows
    monkeypatch.setattr(
        reuse, "read_rows", lambda path, rows: read.append(path) or true(path, rows)
    )
    out = np.full((6, 2), -1, np.float32)
    found = copies((0, 0, 1, 0, 2), (0, 1, 1, 1, 0), (0, 3, 1, 0, 2), (0, 4, 1, 0, 0))
    reuse.gather(found, origins, out)
    assert out.tolist() == [
        vector("seven"),
        vector("eleven"),
        [-1, -1],
        vector("seven"),
        vector("one"),
        [-1, -1],
    ]
    assert [os.path.basename(path) for path in read] == ["part-x.arrow", "part-y.arrow"]
    reuse.gather(copies(), origins, out)
    assert len(read) == 2


def test_a_part_that_waits_is_read_from_where_its_first_pass_left_it(tmp_path: Path) -> None:
    workdir = Workdir(str(tmp_path))
    mine = reuse.Origin(
        vectors=workdir.path("embeddings"),
        hashes="",
        parts=("done", "waits"),
        documents=2,
        seal="",
        computed=reuse.computed_folder(workdir),
        waiting=frozenset({"waits"}),
    )
    write_vectors(workdir.part("embed", "done"), ["a", "bb"])
    write_vectors(reuse.computed_path(workdir, "waits"), ["ccc"])
    out = np.zeros((2, 2), np.float32)
    reuse.gather(copies((2, 0, 0, 0, 1), (2, 1, 0, 1, 0)), (mine,), out)
    assert out.tolist() == [vector("bb"), vector("ccc")]
