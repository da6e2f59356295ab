from __future__ import annotations

import dataclasses
import gzip
import io
import json
import os
from pathlib import Path
from typing import Any

import datasets
import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from mixcurate.errors import InputError
from mixcurate.io.readers import InputParams, ReadTask, list_tasks, read
from mixcurate.io.records import Rejection

MB = 1 << 20
LINES = [json.dumps({"text": f"text {i} " * 10}).encode() for i in range(2_000)]
JSONL = b"\n".join(LINES) + b"\n"


@dataclasses.dataclass(frozen=True)
class Page:
    text: str
    title: str | None = None
    licence: str | None = None


def write(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def parquet_bytes(rows: int, group: int) -> bytes:
    sink = io.BytesIO()
    table = pa.table({"text": [os.urandom(50).hex() for _ in range(rows)]})
    pq.write_table(table, sink, row_group_size=group)
    return sink.getvalue()


def tasks_of(base: Path, task_bytes: int = MB, **params: Any) -> list[ReadTask]:
    return list_tasks(3, InputParams(**params), base=str(base), task_bytes=task_bytes)


def read_task(task: ReadTask, **params: Any) -> tuple[list[dict[str, Any]], list[Rejection]]:
    documents, rejected = [], []
    inputs = InputParams(path="unused", **params)
    for batch in read(task, inputs, extract=lambda body, charset, url: Page(body.decode())):
        documents += batch.documents.to_pylist()
        rejected += batch.rejected
    return documents, rejected


def test_formats_are_told_by_name(tmp_path: Path) -> None:
    names = {
        "a.warc": "warc",
        "a.warc.gz": "warc",
        "a.warc.zst": "warc",
        "a.wet": "wet",
        "a.wet.gz": "wet",
        "a.warc.wet.gz": "wet",
        "a.jsonl": "jsonl",
        "a.ndjson": "jsonl",
        "a.JSON": "jsonl",
        "a.jsonl.gz": "jsonl",
        "a.json.zst": "jsonl",
        "a.jsonl.bz2": "jsonl",
        "a.parquet": "parquet",
        "a.arrow": "arrow",
        "a.feather": "arrow",
        "a.csv": "csv",
        "a.TSV.gz": "csv",
        "a.txt": "text",
        "a.md.zst": "text",
        "a.tar": "tar",
        "a.tar.gz": "tar",
        "a.tgz": "tar",
    }
    write(tmp_path / "in", dict.fromkeys(names, b""))
    found = tasks_of(tmp_path, path="in")
    assert {t.shown_path: t.format for t in found} == {f"in/{n}": f for n, f in names.items()}
    assert [t.shown_path for t in found] == sorted(t.shown_path for t in found)
    assert {(t.input, t.start, t.stop, t.size) for t in found} == {(3, 0, None, 0)}


@pytest.mark.parametrize("name", ["notes.pdf", "a.parquet.gz", "crawl.wat.gz", "_list", "data"])
def test_an_unknown_name_needs_a_format(tmp_path: Path, name: str) -> None:
    write(tmp_path, {name: JSONL})
    with pytest.raises(InputError) as error:
        tasks_of(tmp_path, path=name)
    assert name in str(error.value)
    assert "`format:`" in str(error.value)
    [task] = tasks_of(tmp_path, path=name, format="jsonl")
    assert task.format == "jsonl"
    assert len(read_task(task)[0]) == 2_000


def test_patterns_match_what_they_say_and_nothing_hidden(tmp_path: Path) -> None:
    files = ["a/1.jsonl", "a/2.jsonl", "a/b/3.jsonl", "c/4.jsonl", "a/.tmp-5.jsonl", ".x/6.jsonl"]
    files += ["a/_SUCCESS", "a/_part.jsonl", "_delta_log/0.json"]
    write(tmp_path, dict.fromkeys(files, JSONL))

    def shown(path: str) -> list[str]:
        return [t.shown_path for t in tasks_of(tmp_path, path=path)]

    assert shown("a/*.jsonl") == ["a/1.jsonl", "a/2.jsonl", "a/_part.jsonl"]
    assert shown("a") == shown("a/") == ["a/1.jsonl", "a/2.jsonl", "a/_part.jsonl", "a/b/3.jsonl"]
    assert shown("**/*.jsonl") == shown("") == [*shown("a"), "c/4.jsonl"]
    assert shown("a/../c/4.jsonl") == ["c/4.jsonl"]
    assert shown("a/.tmp-5.jsonl") == ["a/.tmp-5.jsonl"]  # it was asked for


def test_shown_paths_do_not_depend_on_the_folder(tmp_path: Path) -> None:
    for place in ("here", "there"):
        write(tmp_path / place, {"in/1.jsonl": JSONL, "in/2.parquet": parquet_bytes(10, 10)})
    write(tmp_path, {"beside.jsonl": JSONL})
    here, there = (tasks_of(tmp_path / place, path="in/*") for place in ("here", "there"))
    assert [t.shown_path for t in here] == [t.shown_path for t in there]
    assert [t.path for t in here] == [str(tmp_path / "here" / t.shown_path) for t in here]
    assert [t.shown_path for t in tasks_of(tmp_path / "here", path="../*.jsonl")] == [
        "../beside.jsonl"
    ]
    absolute = str(tmp_path / "beside.jsonl")
    assert [t.shown_path for t in tasks_of(tmp_path / "here", path=absolute)] == [absolute]


def test_a_relative_base_gives_absolute_paths_to_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, {"in/1.jsonl": JSONL})
    monkeypatch.chdir(tmp_path)
    for base, path in [("", "in/1.jsonl"), (".", "in/*.jsonl"), ("in", "1.jsonl")]:
        [task] = list_tasks(0, InputParams(path=path), base=base, task_bytes=MB)
        assert task.path == str(tmp_path / "in" / "1.jsonl")
        assert task.shown_path == path.replace("*", "1")


def test_names_with_pattern_characters_are_files_first(tmp_path: Path) -> None:
    write(tmp_path, {"data[1].jsonl": b'{"text":"brackets"}', "data1.jsonl": b'{"text":"one"}'})
    [task] = tasks_of(tmp_path, path="data[1].jsonl")
    assert [d["text"] for d in read_task(task)[0]] == ["brackets"]


def test_urls_are_read_like_folders() -> None:
    fs = fsspec.filesystem("memory")
    fs.pipe("/bucket/in/1.jsonl", JSONL)
    fs.pipe("/bucket/in/2.jsonl.gz", gzip.compress(JSONL))
    try:
        found = list_tasks(0, InputParams(path="memory://bucket/in/*"), base="", task_bytes=MB)
        assert [t.shown_path for t in found] == [
            "memory:///bucket/in/1.jsonl",
            "memory:///bucket/in/2.jsonl.gz",
        ]
        assert [len(read_task(t)[0]) for t in found] == [2_000, 2_000]
        below = list_tasks(0, InputParams(path="in/*"), base="memory:///bucket", task_bytes=MB)
        assert [t.shown_path for t in below] == ["in/1.jsonl", "in/2.jsonl.gz"]
    finally:
        fs.rm("/bucket", recursive=True)


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("crawl/*.jsonl", ["crawl/*.jsonl", "{base}/crawl", "part-1.json.gz, part-2.json.gz"]),
        ("crawl/part-1.jsonl.gz", ["similar names there: part-1.json.gz"]),
        ("nowhere/*.jsonl", ["nowhere/*.jsonl", "{base}/nowhere does not exist"]),
        ("empty", ["empty", "holds no data files"]),
        ("*", ["only folders do", "/**"]),
    ],
)
def test_nothing_found_says_where_and_what_is_near(
    tmp_path: Path, path: str, parts: list[str]
) -> None:
    write(tmp_path, {f"crawl/part-{i}.json.gz": b"" for i in (1, 2)})
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError) as error:
        tasks_of(tmp_path, path=path)
    for part in parts:
        assert part.format(base=tmp_path) in str(error.value)


def test_plain_jsonl_is_cut_into_ranges(tmp_path: Path) -> None:
    write(
        tmp_path, {"a.jsonl": JSONL, "b.jsonl.gz": gzip.compress(JSONL), "c.jsonl": JSONL[:9_999]}
    )
    # A compressed file under a plain name cannot be entered in its middle.
    write(tmp_path, {"d.jsonl": zstandard.ZstdCompressor().compress(os.urandom(50_000))})
    found = tasks_of(tmp_path, path="*", task_bytes=10_000)
    ranges = [t for t in found if t.shown_path == "a.jsonl"]
    assert [t.start for t in ranges[1:]] == [t.stop for t in ranges[:-1]]
    assert (ranges[0].start, ranges[-1].stop) == (0, len(JSONL))
    assert len(ranges) == -(-len(JSONL) // 10_000)
    assert all(t.size == (t.stop or 0) - t.start <= 10_000 for t in ranges)
    assert len({t.version for t in ranges}) == 1
    others = [t for t in found if t.shown_path != "a.jsonl"]
    assert [(t.shown_path, t.start, t.stop) for t in others] == [
        ("b.jsonl.gz", 0, None),
        ("c.jsonl", 0, None),
        ("d.jsonl", 0, None),
    ]
    whole = read_task(dataclasses.replace(ranges[0], stop=None))
    parts = [read_task(task) for task in ranges]
    assert len(whole[0]) == 2_000
    assert [d for documents, _ in parts for d in documents] == whole[0]


def test_parquet_is_cut_into_row_groups(tmp_path: Path) -> None:
    write(tmp_path, {"a.parquet": parquet_bytes(3_000, 100), "b.parquet": parquet_bytes(10, 10)})
    write(tmp_path, {"c.parquet": b"no parquet" * 10_000})
    found = tasks_of(tmp_path, path="*", task_bytes=50_000)
    assert [t.shown_path for t in found[-2:]] == ["b.parquet", "c.parquet"]
    ranges = found[:-2]
    assert 4 <= len(ranges) <= 10
    assert [t.start for t in ranges[1:]] == [t.stop for t in ranges[:-1]]
    assert (ranges[0].start, ranges[-1].stop) == (0, 30)
    assert all(t.size <= 50_000 for t in ranges)
    positions = [d["position"] for t in ranges for d in read_task(t)[0]]
    assert positions == list(range(3_000))
    assert [r.reason for r in read_task(found[-1])[1]] == ["not_parquet"]


def test_tasks_are_plain_values_and_repeatable(tmp_path: Path) -> None:
    write(tmp_path, {"a.jsonl": JSONL})
    found = tasks_of(tmp_path, path="a.jsonl", task_bytes=50_000)
    assert len(found) > 1
    assert found == tasks_of(tmp_path, path="a.jsonl", task_bytes=50_000)
    copies = [ReadTask(**json.loads(json.dumps(dataclasses.asdict(task)))) for task in found]
    assert copies == found
    os.utime(tmp_path / "a.jsonl", (1, 1))
    assert tasks_of(tmp_path, path="a.jsonl")[0].version != found[0].version


@pytest.mark.parametrize("name", ["auto", "huggingface"])
def test_a_saved_dataset_is_one_input(tmp_path: Path, name: Any) -> None:
    datasets.disable_progress_bars()
    table = datasets.Dataset.from_dict({"text": ["a", "b", "c"]})
    datasets.DatasetDict(train=table, test=table).save_to_disk(str(tmp_path / "set"))
    found = tasks_of(tmp_path, path="set", format=name)
    assert [(t.shown_path, t.format) for t in found] == [
        ("set/test/data-00000-of-00001.arrow", "arrow"),
        ("set/train/data-00000-of-00001.arrow", "arrow"),
    ]
    assert [d["text"] for d in read_task(found[1])[0]] == ["a", "b", "c"]


def test_a_lost_file_of_a_dataset_is_named(tmp_path: Path) -> None:
    write(tmp_path, {"set/state.json": b'{"_data_files": [{"filename": "lost.arrow"}]}'})
    with pytest.raises(InputError, match=r"lost\.arrow|set"):
        tasks_of(tmp_path, path="set")


def test_a_folder_of_files_read_as_a_dataset(tmp_path: Path) -> None:
    write(tmp_path, {"set/README.md": b"# a card", "set/data/1.parquet": parquet_bytes(5, 5)})
    [task] = tasks_of(tmp_path, path="set", format="huggingface")
    assert task.shown_path == "set/data/1.parquet"
    assert len(read_task(task)[0]) == 5


ENDINGS = ["jsonl", "jsonl.gz", "warc.gz", "warc.wet", "parquet", "arrow", "csv", "tar", "tar.gz"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_empty_file_costs_one_rejection(tmp_path: Path, ending: str) -> None:
    write(tmp_path, {f"a.{ending}": b""})
    [task] = tasks_of(tmp_path, path="*")
    documents, rejected = read_task(task)
    assert documents == []
    assert [(r.position, r.reason) for r in rejected] == [(0, "empty_file")]
    if not ending.startswith(("parquet", "arrow")):
        write(tmp_path, {f"a.{ending}": gzip.compress(b"")})
        assert [r.reason for r in read_task(task)[1]] == ["empty_file"]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize(
    "content",
    [
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256)) * 500,
        b"<!DOCTYPE html><html><body>\n" + b"<p>Not found.</p>\n" * 5_000,
        b"\n".join(b"%d,word,%d" % (i, i * i) for i in range(5_000)) + b",\n",
        gzip.compress(os.urandom(100_000)),
    ],
    ids=["png", "html", "csv", "noise.gz"],
)
def test_a_file_of_another_kind_costs_one_rejection(
    tmp_path: Path, ending: str, content: bytes
) -> None:
    if ending == "csv" and content.startswith(b"0,word"):
        pytest.skip("it is of this kind")
    write(tmp_path, {f"a.{ending}": content})
    found = tasks_of(tmp_path, path="*", task_bytes=50_000)  # plain JSONL makes several tasks
    results = [read_task(task) for task in found]
    assert [d for documents, _ in results for d in documents] == []
    kind = f"not_{ending.partition('.')[0]}"
    assert [(r.position, r.reason) for _, rejected in results for r in rejected] == [(0, kind)]


def test_a_file_that_cannot_be_opened_is_an_input_error(tmp_path: Path) -> None:
    write(tmp_path, {"a.jsonl": JSONL})
    [task] = tasks_of(tmp_path, path="a.jsonl")
    (tmp_path / "a.jsonl").unlink()
    with pytest.raises(InputError, match=r"cannot read .*a\.jsonl: No such file"):
        read_task(task)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_disk_that_fails_is_an_input_error(
    tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError(5, "Input/output error")

    write(tmp_path, {f"a.{ending}": JSONL})
    [task] = tasks_of(tmp_path, path="*")
    monkeypatch.setattr("mixcurate.io.storage.open_read", lambda path: Failing(JSONL))
    with pytest.raises(InputError, match=r"cannot read .*: Input/output error"):
        read_task(task)


def test_pages_and_texts_are_dispatched(tmp_path: Path) -> None:
    page = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<p>page"
    record = b"WARC/1.0\r\nWARC-Type: %s\r\nContent-Length: %d\r\n\r\n%s\r\n\r\n"
    write(
        tmp_path,
        {
            "a.warc.gz": gzip.compress(record % (b"response", len(page), page)),
            "b.warc.wet.gz": gzip.compress(record % (b"conversion", 4, b"text")),
        },
    )
    results = [read_task(task) for task in tasks_of(tmp_path, path="*")]
    assert [[d["text"] for d in documents] for documents, _ in results] == [["<p>page"], ["text"]]


def test_fields_of_the_input_are_used(tmp_path: Path) -> None:
    write(tmp_path, {"a.jsonl": b'{"content":"c","key":5}'})
    [task] = tasks_of(tmp_path, path="*")
    documents, rejected = read_task(task, text_field="content", id_field="key")
    assert rejected == []
    assert [(d["text"], d["own_id"], d["metadata"]) for d in documents] == [("c", "5", None)]
