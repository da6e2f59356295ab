from __future__ import annotations

import dataclasses
import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest
import zstandard
from pydantic import ValidationError

from mixcurate.errors import InputError
from mixcurate.io.readers import InputParams, ReadTask, list_tasks, read
from mixcurate.io.records import Rejection

MB = 1 << 20
JSONL = b"".join(b'{"text":"text %d"}\n' % i for i in range(2_000))


def write(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def tasks_of(base: Path | str, task_bytes: int = MB, **params: Any) -> list[ReadTask]:
    return list_tasks(0, InputParams(**params), base=str(base), task_bytes=task_bytes)


def no_pages(body: bytes, charset: str | None, url: str | None) -> None:
    raise AssertionError("no HTML here")


def read_all(tasks: list[ReadTask], **params: Any) -> tuple[list[dict[str, Any]], list[Rejection]]:
    documents, rejected = [], []
    for task in tasks:
        for batch in read(task, InputParams(path="unused", **params), extract=no_pages):
            documents += batch.documents.to_pylist()
            rejected += batch.rejected
    return documents, rejected


# --- options ---


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"format": "jsonl", "root": "x"}, "root: is for paths files, and these are jsonl"),
        ({"format": "text", "first": 3}, "first: is for paths files, and these are text"),
        ({"format": "warc", "delimiter": "x"}, "delimiter: is for csv and text and paths files"),
        ({"format": "csv", "delimiter": "::"}, "must be one character"),
        ({"format": "csv", "delimiter": '"'}, "must be one character"),
        ({"format": "text", "delimiter": "\ud800"}, "valid string"),
        ({"format": "text", "delimiter": ""}, "at least 1 character"),
        ({"format": "paths", "root": "simplecache::s3://x"}, "without '::'"),
        ({"format": "paths", "first": 0}, "greater than 0"),
        ({"filters": "gofer"}, "'gopher', 'c4', 'fineweb' or 'none'"),
    ],
)
def test_options_fit_their_format(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as error:
        InputParams(path="x", **params)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"root": "x"}, "root: is for paths files, and these are csv, jsonl"),
        ({"first": 1}, "first: "),
        ({"delimiter": "::"}, "delimiter: of CSV must be one character"),
    ],
)
def test_options_are_checked_again_by_what_is_found(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    write(tmp_path, {"a.jsonl": JSONL, "b.csv": b"text\nx\n"})
    with pytest.raises(InputError, match=message):
        tasks_of(tmp_path, path="*", **options)
    assert len(tasks_of(tmp_path, path="*", delimiter=";")) == 2


# --- new formats, through the one entry ---


def test_each_format_is_dispatched_with_its_options(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "a.csv": b"text;n\none;1\n",
            "b.tsv.gz": gzip.compress(b"text\tn\ntwo\t2\n"),
            "c.txt": b"three;four",
        },
    )
    assert [d["text"] for d in read_all(tasks_of(tmp_path, path="b*"))[0]] == ["two"]
    assert [d["text"] for d in read_all(tasks_of(tmp_path, path="c*"))[0]] == ["three;four"]
    both = tasks_of(tmp_path, path="[ac]*", delimiter=";")
    documents, rejected = read_all(both, delimiter=";")
    assert [d["text"] for d in documents] == ["one", "three", "four"]
    assert rejected == []


def test_plain_text_is_cut_into_ranges(tmp_path: Path) -> None:
    text = b"".join(b"line %d\r\n" % i for i in range(5_000))
    write(tmp_path, {"a.txt": text, "b.txt": "line\n".encode("utf-16") * 5_000})
    write(tmp_path, {"c.txt.gz": gzip.compress(os.urandom(40_000))})
    cut = tasks_of(tmp_path, 10_000, path="a.txt", delimiter="\n")
    assert len(cut) == -(-len(text) // 10_000)
    whole = tasks_of(tmp_path, path="a.txt", delimiter="\n")
    assert len(whole) == 1
    assert read_all(cut, delimiter="\n") == read_all(whole, delimiter="\n")
    assert len(read_all(whole, delimiter="\n")[0]) == 5_000
    for path, delimiter in [("a.txt", None), ("a.txt", "\n\n"), ("[bc].txt*", "\n")]:
        found = tasks_of(tmp_path, 10_000, path=path, delimiter=delimiter)
        assert {(t.start, t.stop) for t in found} == {(0, None)}


# --- lists of paths ---


def listed(tmp_path: Path, *lines: str, pack: Any = bytes) -> str:
    write(tmp_path, {"all.paths.gz": pack("".join(f"{line}\n" for line in lines).encode())})
    return "all.paths.gz"


def test_listed_files_are_tasks_of_their_own_format(tmp_path: Path) -> None:
    write(tmp_path, {"data/a.jsonl": JSONL, "data/b/c.csv": b"text\nfrom csv\n"})
    path = listed(tmp_path, "b/c.csv", "", "a.jsonl", pack=gzip.compress)
    found = tasks_of(tmp_path, 10_000, path=path, root="data")
    assert {(t.shown_path, t.format) for t in found} == {
        ("data/a.jsonl", "jsonl"),
        ("data/b/c.csv", "csv"),
    }
    assert len(found) > 3
    documents, rejected = read_all(found)
    assert (len(documents), rejected) == (2_001, [])
    [first] = tasks_of(tmp_path, path=path, root=str(tmp_path / "data"), first=1)
    assert first.shown_path == str(tmp_path / "data" / "b" / "c.csv")
    [by_format] = tasks_of(tmp_path, path=path, root="data", first=1, format="paths")
    assert by_format.format == "csv"


def test_common_crawl_is_the_root_unless_another_is_given(tmp_path: Path) -> None:
    path = listed(tmp_path, "crawl-data/1.warc.gz", "crawl-data/0.warc.wet.gz", "s3://other/x.wet")
    found = tasks_of(tmp_path, path=path)
    assert [(t.path, t.format, t.size) for t in found] == [
        ("https://data.commoncrawl.org/crawl-data/0.warc.wet.gz", "wet", 0),
        ("https://data.commoncrawl.org/crawl-data/1.warc.gz", "warc", 0),
        ("s3://other/x.wet", "wet", 0),
    ]
    assert [t.shown_path for t in found] == [t.path for t in found]
    found = tasks_of(tmp_path, path=path, root="memory://commoncrawl/", first=2)
    assert found[0].path == "memory://commoncrawl/crawl-data/0.warc.wet.gz"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["a.jsonl", "../x.jsonl"], "line 2: '../x.jsonl' leads out of the root"),
        (["b/../../x.jsonl"], "line 1: .* leads out"),
        (["b\\..\\..\\x.jsonl"], "leads out"),
        (["/etc/passwd.txt"], "line 1: .* leads out"),
        (["https://example.org/a.jsonl"], "does not lie in the root"),
        (["file:///etc/passwd.txt"], "does not lie in the root"),
        (["simplecache::x.jsonl"], "leads out"),
        (["a.jsonl", "", "a.jsonl"], "line 3: 'a.jsonl' is on line 1 already"),
        (["gone.jsonl"], "line 1: .*gone.jsonl is no file; is `root:` right"),
        (["b"], "line 1: .*b is no file"),
        (["a.xyz"], "line 1: cannot tell the format"),
        (["a.paths"], "line 1: .* a list of paths again"),
        (["x\x07.jsonl"], "control characters"),
        (["x" * 5_000], "line 1: more than 4,096 bytes"),
        ([], "the list is empty|holds no"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, lines: list[str], message: str) -> None:
    write(
        tmp_path, dict.fromkeys(("data/a.jsonl", "data/a.xyz", "data/a.paths", "data/b/c"), JSONL)
    )
    path = listed(tmp_path, *lines)
    with pytest.raises(InputError, match=message):
        tasks_of(tmp_path, path=path, root="data")


@pytest.mark.parametrize("line", ["file:///etc/passwd.txt", "s3://a/b::c.jsonl", "x::y.jsonl"])
def test_urls_open_no_files_of_this_machine(tmp_path: Path, line: str) -> None:
    with pytest.raises(InputError, match="line 1: "):
        tasks_of(tmp_path, path=listed(tmp_path, line))


def test_a_damaged_list_is_refused(tmp_path: Path) -> None:
    path = listed(tmp_path, "a.jsonl", "b.jsonl", pack=lambda data: gzip.compress(data)[:-4])
    with pytest.raises(InputError, match="too early; get the list anew"):
        tasks_of(tmp_path, path=path)
    assert len(tasks_of(tmp_path, path=path, first=1)) == 1


def test_tasks_stay_plain_values(tmp_path: Path) -> None:
    write(tmp_path, {"a.csv": b"text\nx\n"})
    [task] = tasks_of(tmp_path, path="a.csv")
    assert ReadTask(**json.loads(json.dumps(dataclasses.asdict(task)))) == task


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.ZstdCompressor().compress])
def test_warc_is_cut_where_records_are_packed_apart(tmp_path: Path, pack: Any) -> None:
    head = b"WARC/1.0\r\nWARC-Type: conversion\r\nContent-Length: %d\r\n\r\n%s\r\n\r\n"
    texts = [os.urandom(100).hex().encode() + b" %d" % i for i in range(300)]
    stored = [pack(head % (len(text), text)) for text in texts]
    write(tmp_path, {"a.warc.wet.x": b"".join(stored)})
    [whole] = tasks_of(tmp_path, path="*", format="wet")
    cut = tasks_of(tmp_path, 5_000, path="*", format="wet")
    assert len(cut) > 5
    assert sum(task.size for task in cut) == whole.size
    assert read_all(cut) == read_all([whole])
    assert read_all(cut)[1] == []
    places = [sum(map(len, stored[:i])) for i in range(300)]
    assert [d["position"] for d in read_all([whole])[0]] == places
