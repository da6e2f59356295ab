from __future__ import annotations

import random
import uuid
from collections import Counter
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mixcurate.errors import JobError
from mixcurate.io import partfiles, storage
from mixcurate.io.workdir import Workdir
from mixcurate.kernels.cleaning import DedupParams
from mixcurate.kernels.hashing import content_hashes, document_ids
from mixcurate.kernels.signals import SIGNALS
from mixcurate.transforms import keyfiles
from mixcurate.transforms.chunks import CutChunks
from mixcurate.transforms.documents import WriteDocuments, plan_write
from mixcurate.transforms.duplicates import FindDuplicates
from mixcurate.transforms.keyfiles import (
    Earlier,
    KeyMaker,
    extracted_keys_path,
    extracted_path,
    keys_path,
)
from mixcurate.transforms.runner import BeamArgs, make_pipeline
from mixcurate.transforms.tasks import RunTask
from tests.documents import real_documents

DEFAULT = DedupParams()
ARGS = BeamArgs("FnApiRunner", (), 1, None)
LONG = " ".join(document["text"] for document in real_documents(4))
EDITED = LONG.replace("Python", "Cobra", 1) + " and more"
OTHER = [document["text"] for document in real_documents(12)[4:]]

Parts = dict[str, list[dict[str, object]]]


def documents(rows: list[dict[str, object]]) -> pa.Table:
    """A part of ``documents/`` from what a row is given; ids are those of places."""
    text = pa.array([row["text"] for row in rows], pa.large_string())
    places = [(str(row.get("path", "a.jsonl")), int(row.get("position", 0))) for row in rows]
    ids = [document_ids("s", path, np.array([n]))[0].as_py() for path, n in places]
    columns = {
        "id": pa.array(
            [row.get("id", own) for row, own in zip(rows, ids, strict=True)], pa.string()
        ),
        "text": text,
        "url": pa.array([row.get("url") for row in rows], pa.string()),
        "source": pa.array(["s"] * len(rows)),
        "path": pa.array([path for path, _ in places]),
        "position": pa.array([position for _, position in places], pa.int64()),
        "n_tokens": pa.array([10] * len(rows), pa.int32()),
        "n_bytes": pa.array([len(str(row["text"]).encode()) for row in rows], pa.int64()),
        "content_hash": content_hashes(text),
    }
    for name in SIGNALS:
        values = [float(row.get(name, 0.0)) for row in rows]  # type: ignore[arg-type]
        columns[f"signal_{name}"] = pa.array(values, pa.float32())
    return pa.table(columns)


def run(
    workdir: Workdir,
    parts: Parts,
    params: DedupParams | None = DEFAULT,
    earlier: tuple[Earlier, ...] = (),
    own_ids: bool = False,
    **sizes: int,
) -> dict[str, tuple[str, str]]:
    """Write parts as Extract does, deduplicate; reason and detail of each dropped document."""
    maker = KeyMaker.of(workdir, earlier, params, own_ids)
    for name, rows in parts.items():
        table = documents(rows)
        partfiles.write_table(extracted_path(workdir, name), table)
        if maker.any:
            partfiles.write_array(extracted_keys_path(workdir, name), maker.make(table))
    known = [
        (name, {"documents": len(rows), "tokens": 10 * len(rows), "fingerprint": "f"})
        for name, rows in parts.items()
    ]
    pipeline = make_pipeline(ARGS, job_name="x", work_seconds=0)
    found = pipeline | beam.Create(known, reshuffle=False)
    search = FindDuplicates(maker, params.keep if params else "longest", **sizes)
    drops = search.build(
        pipeline, found | beam.MapTuple(lambda name, part: (name, part["documents"]))
    )
    _ = (
        {"part": found, "drops": drops}
        | beam.CoGroupByKey()
        | beam.Map(plan_write)
        | beam.ParDo(RunTask(WriteDocuments(workdir, maker.any)))
    )
    pipeline.run().wait_until_finish()
    given = Counter(
        str(row) for table in parts.values() for row in documents(table)["id"].to_pylist()
    )
    lost = rejected(workdir)
    assert given == Counter(kept(workdir)) + Counter(row["id"] for row in lost)
    return {row["id"]: (row["reason"], row["detail"]) for row in lost}


def rejected(workdir: Workdir) -> list[dict]:
    paths = [found.path for found in storage.glob(workdir.path("rejected"))]
    return [row for path in paths for row in partfiles.read_table(path).to_pylist()]


def kept(workdir: Workdir, column: str = "id") -> list[str]:
    paths = [found.path for found in storage.glob(workdir.path("documents"))]
    return [
        str(value) for path in paths for value in partfiles.read_table(path)[column].to_pylist()
    ]


def as_earlier(workdir: Workdir, shown: str = "../old") -> Earlier:
    paths = [found.path for found in storage.glob(workdir.path("documents"))]
    names = [Path(path).name.removeprefix("part-").removesuffix(".parquet") for path in paths]
    sizes = [partfiles.read_table(path).num_rows for path in paths]
    return Earlier(workdir.root, shown, tuple(zip(names, sizes, strict=True)), "seal")


def test_each_kind_of_duplicate_is_dropped_with_its_reason_and_survivor(tmp_path: Path) -> None:
    parts: Parts = {
        "b": [
            {"id": "long", "text": LONG + " the longest"},
            {"id": "shout", "text": OTHER[0].upper()},
            {"id": "page", "text": OTHER[1], "url": "http://e.org/a"},
            {"id": "alone", "text": OTHER[2], "url": "http://e.org/b"},
        ],
        "a": [
            {"id": "edited", "text": EDITED},
            {"id": "plain", "text": OTHER[0] + "!!"},
            {"id": "moved", "text": OTHER[3] + OTHER[4], "url": "https://www.e.org/a/?utm_id=1"},
            {"id": "long", "text": OTHER[5]},
        ],
    }
    dropped = run(Workdir(str(tmp_path)), parts, DedupParams(url=True), own_ids=True)
    near, same, page = "nearly the same words as", "the same words as", "the same URL as"
    stays = "which is kept"
    assert len(OTHER[3] + OTHER[4]) > len(OTHER[1])
    assert dropped == {
        "edited": ("near_duplicate", f"{near} document long, {stays}"),
        "shout": ("exact_duplicate", f"{same} document plain, {stays}"),
        "page": ("duplicate_url", f"{page} document moved, {stays}"),
        "long": ("duplicate_id", f"the same id as document long, {stays}"),
    }
    texts = kept(Workdir(str(tmp_path)), "text")
    assert sorted(texts) == sorted(
        [LONG + " the longest", OTHER[0] + "!!", OTHER[3] + OTHER[4], OTHER[2]]
    )


def test_null_keeps_every_duplicate_but_of_own_ids(tmp_path: Path) -> None:
    parts: Parts = {"a": [{"id": "x", "text": LONG}, {"id": "y", "text": LONG}]}
    assert run(Workdir(str(tmp_path / "1")), parts, None) == {}
    parts["a"].append({"id": "y", "text": LONG})
    dropped = run(Workdir(str(tmp_path / "2")), parts, None, own_ids=True)
    assert dropped == {"y": ("duplicate_id", "the same id as document y, which is kept")}


def test_quality_may_choose_the_survivor(tmp_path: Path) -> None:
    good = {"text": LONG, "id": "good", "alpha_words": 1.0, "mean_word_length": 5.0}
    parts: Parts = {"a": [{"text": EDITED, "id": "longer"}, good]}
    assert set(run(Workdir(str(tmp_path / "1")), parts)) == {"good"}
    assert set(run(Workdir(str(tmp_path / "2")), parts, DedupParams(keep="quality"))) == {"longer"}


def many(seed: int) -> list[dict[str, object]]:
    """Documents with chains of near, exact and URL duplicates, in some order."""
    rng = random.Random(4)
    rows: list[dict[str, object]] = []
    for number, document in enumerate(real_documents(40)):
        words = (document["text"] + real_documents(80)[40 + number]["text"]).split()
        for version in range(rng.choice([1, 1, 2, 4])):
            if version:
                words[rng.randrange(len(words))] = f"new{version}"
            url = f"https://e.org/{rng.randrange(60)}"
            text = " ".join(words)
            rows.append({"text": text, "url": url, "position": len(rows)})
            if rng.random() < 0.2:
                rows.append({"text": text.lower(), "position": len(rows)})
    random.Random(seed).shuffle(rows)
    return rows


def cut(rows: list[dict[str, object]], names: str) -> Parts:
    return {name: rows[i :: len(names)] for i, name in enumerate(names)}


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str]]:
    folder = str(tmp_path_factory.mktemp("expected"))
    dropped = run(Workdir(folder), cut(many(0), "ab"), DedupParams(url=True))
    assert set(Counter(reason for reason, _ in dropped.values())) == {
        "near_duplicate",
        "exact_duplicate",
        "duplicate_url",
    }
    return dropped


@pytest.mark.parametrize(
    ("seed", "names", "sizes"),
    [
        (0, "ba", {}),
        (1, "ab", {"chunk_documents": 1}),
        (2, "abc", {"bucket_documents": 40}),
        (3, "dcbax", {"chunk_documents": 30, "bucket_documents": 7}),
        (4, "a", {}),
    ],
)
def test_order_parts_chunks_and_buckets_do_not_matter(tmp_path, expected, seed, names, sizes):
    dropped = run(Workdir(str(tmp_path)), cut(many(seed), names), DedupParams(url=True), **sizes)
    assert dropped == expected


def test_which_text_survives_does_not_depend_on_where_it_was(tmp_path: Path) -> None:
    same_length = [LONG.replace("Python", "Cobras"), LONG.replace("Python", "Adders"), LONG]
    found = []
    for turn in range(3):
        rows = [
            {"text": t, "position": n}
            for n, t in enumerate(same_length[turn:] + same_length[:turn])
        ]
        workdir = Workdir(str(tmp_path / str(turn)))
        assert len(run(workdir, {"a": rows})) == 2
        found.append(kept(workdir, "text"))
    assert found[0] == found[1] == found[2]


def test_a_part_that_loses_all_rows_is_not_written(tmp_path: Path) -> None:
    workdir = Workdir(str(tmp_path))
    run(workdir, {"a": [{"text": LONG, "position": 1}], "b": [{"text": EDITED, "position": 2}]})
    names = sorted(Path(found.path).name for found in storage.glob(workdir.path("documents")))
    assert names == ["part-b.parquet"]
    assert not storage.exists(keys_path(workdir.root, "a"))


def test_keys_are_kept_row_by_row_and_are_those_of_the_text(tmp_path: Path) -> None:
    workdir = Workdir(str(tmp_path))
    run(workdir, cut(many(0), "ab"))
    maker = KeyMaker.of(workdir, (), DedupParams(), False)
    for name in "ab":
        table = pq.read_table(workdir.part("ingest", name))
        left = partfiles.read_array(keys_path(workdir.root, name))
        assert left.tobytes() == maker.make(table).tobytes()


@pytest.mark.parametrize("there", ["keys", "no keys", "other keys", "elsewhere"])
def test_what_an_earlier_run_kept_wins(tmp_path, monkeypatch, there: str) -> None:
    monkeypatch.setattr(keyfiles, "_BATCH_ROWS", 1)
    folder = f"memory://{uuid.uuid4()}" if there == "elsewhere" else str(tmp_path)
    old = Workdir(storage.join(folder, "old"))
    rows = [
        {"id": "n1", "text": EDITED},
        {"id": "n2", "text": OTHER[0]},
        {"id": "n3", "text": OTHER[2]},
    ]
    before = {"no keys": None, "other keys": DedupParams.model_validate({"near": {"ngram": 3}})}
    run(old, {"x": [{"id": "o1", "text": LONG}, {"id": "n3", "text": OTHER[1]}], "y": [
        {"id": "o2", "text": OTHER[0].upper()}]}, before.get(there, DedupParams()))  # fmt: skip
    assert storage.exists(keys_path(old.root, "x")) == (there != "no keys")
    new = Workdir(storage.join(folder, "new"))
    dropped = run(new, {"a": rows[:2], "b": rows[2:]}, earlier=(as_earlier(old),), own_ids=True)
    assert dropped == {
        "n1": ("near_duplicate", "nearly the same words as document o1 of ../old, which is kept"),
        "n2": ("exact_duplicate", "the same words as document o2 of ../old, which is kept"),
    }


def test_of_several_earlier_runs_the_first_is_named(tmp_path: Path) -> None:
    origins = []
    for name in ("one", "two"):
        run(Workdir(str(tmp_path / name)), {"a": [{"id": name, "text": LONG}]})
        origins.append(as_earlier(Workdir(str(tmp_path / name)), name))
    new = Workdir(str(tmp_path / "new"))
    dropped = run(new, {"a": [{"id": "n", "text": LONG}]}, earlier=tuple(reversed(origins)))
    assert dropped["n"][1].endswith("document two of two, which is kept")
    assert kept(new) == []


def test_a_key_of_very_many_documents_costs_a_row_each(tmp_path: Path) -> None:
    rows = [{"text": "No comments yet", "position": n} for n in range(3_000)]
    assert len(run(Workdir(str(tmp_path)), {"a": rows[:1_500], "b": rows[1_500:]})) == 2_999


def test_more_documents_than_numbers_are_refused_with_the_way_out() -> None:
    step = CutChunks((), 1 << 16, 1 << 22)
    with pytest.raises(JobError, match=r"5,000,000,000 documents.*several runs"):
        list(step.process(None, [("a", 5_000_000_000)]))


def test_chunks_number_every_document_once_own_ones_first() -> None:
    earlier = (Earlier("r", "r", (("z", 4), ("y", 1)), "s"),)
    step = CutChunks(earlier, 5, 6)
    chunks = [chunk for _, chunk in step.process(None, [("b", 2), ("a", 6), ("c", 0)])]
    assert [(c.first, c.stop, [p.name for p in c.places]) for c in chunks] == [
        (0, 6, ["a"]), (6, 12, ["b", "c", "z"]), (12, 13, ["y"]),
    ]  # fmt: skip
    assert {chunk.buckets for chunk in chunks} == {3}
