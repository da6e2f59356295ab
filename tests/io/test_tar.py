from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
import webdataset
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.io import records, tar_members
from mixcurate.io.compression import open_plain
from mixcurate.io.records import FieldParams, Rejection
from mixcurate.io.tar import read_tar

FIELDS = FieldParams()
FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
Read = tuple[list[dict[str, Any]], list[Rejection]]


def read(data: bytes, **fields: Any) -> Read:
    documents, rejected = [], []
    stream = open_plain(io.BytesIO(data), "test")
    for batch in read_tar(stream, fields=FieldParams(**fields)):
        assert batch.documents.schema == records.RAW
        documents += batch.documents.to_pylist()
        rejected += batch.rejected
    return documents, rejected


def pack(
    members: list[tuple[str, bytes] | tarfile.TarInfo], form: int = tarfile.GNU_FORMAT
) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=form) as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
            else:
                header = tarfile.TarInfo(member[0])
                header.size = len(member[1])
                archive.addfile(header, io.BytesIO(member[1]))
    return sink.getvalue()


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.type, header.linkname = kind, target
    return header


def texts(result: Read) -> dict[str, str]:
    return {json.loads(d["metadata"])["__key__"]: d["text"] for d in result[0]}


def reasons(result: Read) -> list[str]:
    return [r.reason for r in result[1]]


MANY = [
    (f"{i:04d}.{ending}", content)
    for i in range(40)
    for ending, content in [
        ("txt", b"text %d" % i),
        ("json", b'{"n":%d,"url":"u%d"}' % (i, i)),
        ("jpg", bytes(i * 100)),
    ]
]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_members_of_one_key_are_one_document(form: str, compress: Any) -> None:
    data = pack(MANY, FORMATS[form])
    documents, rejected = read(compress(data))
    assert rejected == []
    assert [d["text"] for d in documents] == [f"text {i}" for i in range(40)]
    assert [d["url"] for d in documents] == [f"u{i}" for i in range(40)]
    assert json.loads(documents[3]["metadata"]) == {"__key__": "0003", "n": 3}
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert [d["position"] for d in documents] == [m.offset for m in archive.getmembers()[::3]]


@pytest.mark.parametrize("form", ["gnu", "pax"])
def test_long_names_are_read_from_their_headers(form: str) -> None:
    folder = "folder/" * 60 + "ü"
    members = [(f"{folder}/{i}.{e}", b"x%d" % i) for i in range(3) for e in ("txt", "cls")]
    data = pack(members, FORMATS[form])
    result = read(data)
    assert result[1] == []
    assert texts(result) == {f"{folder}/{i}": f"x{i}" for i in range(3)}
    assert result[0][0]["position"] == 0


def test_what_webdataset_writes_is_read(tmp_path: Path) -> None:
    path = str(tmp_path / "a.tar")
    with webdataset.TarWriter(path) as sink:
        for i in range(5):
            sink.write({"__key__": f"a/{i}", "txt": f"wörd {i}", "json": {"id": i}})
    documents, rejected = read(Path(path).read_bytes(), id_field="id")
    assert rejected == []
    assert [(d["text"], d["own_id"]) for d in documents] == [
        (f"wörd {i}", str(i)) for i in range(5)
    ]
    assert read(Path(path).read_bytes(), id_field="__key__")[0][2]["own_id"] == "a/2"


def test_the_text_is_a_member_or_a_field() -> None:
    sample = [("a.MD", b"from md"), ("a.json", b'{"body":{"t":"from json"},"text":"field"}')]
    assert texts(read(pack(sample), text_field="md")) == {"a": "from md"}
    assert texts(read(pack(sample), text_field="body.t")) == {"a": "from json"}
    assert texts(read(pack(sample))) == {"a": "field"}
    both = read(pack([*sample, ("a.txt", b"\xef\xbb\xbffrom txt")]))
    assert texts(both) == {"a": "from txt"}
    assert json.loads(both[0][0]["metadata"])["text"] == "field"


BROKEN = {
    "link.txt": ("not_a_file", [special("s.txt", tarfile.SYMTYPE, "/etc/passwd")]),
    "hard": ("not_a_file", [special("s.txt", tarfile.LNKTYPE, "good.txt")]),
    "device": ("not_a_file", [special("s.txt", tarfile.CHRTYPE)]),
    "pipe": ("not_a_file", [special("s.json", tarfile.FIFOTYPE), ("s.txt", b"x")]),
    "sparse": ("not_a_file", [special("s.txt", tarfile.GNUTYPE_SPARSE)]),
    "unknown": ("not_a_file", [special("s.txt", b"Z")]),
    "climbs": ("bad_name", [("a/../../s.txt", b"x")]),
    "absolute": ("bad_name", [("/etc/s.txt", b"x")]),
    "latin": ("bad_name", [("caf\udce9.txt", b"x")]),
    "no ending": ("bad_name", [("README", b"x")]),
    "twice": ("duplicate_member", [("s.txt", b"x"), ("s.txt", b"y")]),
    "no text": ("no_text_field", [("s.jpg", b"x"), ("s.cls", b"1")]),
    "no field": ("no_text_field", [("s.json", b'{"a":1}')]),
    "bytes": ("invalid_utf8", [("s.txt", b"caf\xe9")]),
    "json": ("not_json", [("s.json", b"{"), ("s.txt", b"x")]),
    "list": ("not_json", [("s.json", b"[1]")]),
    "deep": ("not_json", [("s.json", b"[" * 1_000_000)]),
    "large": ("too_large", [("s.txt", b"x" * 2_000_001)]),
    "name bomb": ("too_large", [("n" * 100_000 + ".txt", b"x")]),
    "members": ("too_large", [(f"s.{i}", b"") for i in range(500)]),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_hostile_sample_costs_one_rejection(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MAX_RECORD_BYTES", 2_000_000)
    reason, members = BROKEN[name]
    data = pack([("good.txt", b"before"), *members, ("well.txt", b"after")])
    result = read(data)
    assert reasons(result) == [reason]
    assert result[1][0].position == 1024
    assert texts(result) == {"good": "before", "well": "after"}


def pax_header(body: bytes, kind: bytes = tarfile.XHDTYPE) -> bytes:
    header = tarfile.TarInfo("pax")
    header.type, header.size = kind, len(body)
    return header.tobuf(tarfile.USTAR_FORMAT) + body + bytes(-len(body) % 512)


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        (pax_header(b"30 path=%s\n" % (b"a" * 100_000)), "too_large"),
        (pax_header(b"13 path=a.tx\n") * 6_000, "too_large"),
        (pax_header(b"", tarfile.GNUTYPE_LONGNAME) * 20_000, "too_large"),
        (pax_header(b"99 path=short\n"), "corrupt"),
        (pax_header(b"0 path=short\n"), "corrupt"),
        (pax_header(b"16 size=-100000\n"), "corrupt"),
        (pax_header(b"28 size=9999999999999999999\n"), "corrupt"),
        (pax_header(b"22 GNU.sparse.major=1\n"), "not_a_file"),
    ],
)
def test_extended_headers_are_bounded(headers: bytes, reason: str) -> None:
    first = pack([("good.txt", b"before")])[:1024]
    rest = pack([("bad.txt", b"x"), ("well.txt", b"after")])
    result = read(first + headers + rest)
    assert reasons(result) == [reason]
    assert texts(result) == {"good": "before", "well": "after"}


def test_global_headers_folders_and_hidden_files_are_passed_over() -> None:
    members = [special("a", tarfile.DIRTYPE), ("a/x.txt", b"x"), ("a/._x.txt", b"mac")]
    members += [("__meta__", b"{}"), ("a/.DS_Store", b"")]
    data = pax_header(b"16 comment=hello\n", tarfile.XGLTYPE) + pack(members)
    assert (texts(result := read(data)), result[1]) == ({"a/x": "x"}, [])


def test_damage_costs_one_rejection_and_reading_goes_on() -> None:
    data = bytearray(pack([(f"{i}.txt", b"text %d" % i) for i in range(10)]))
    data[5 * 1024 + 150 : 5 * 1024 + 153] = b"???"  # of a checksum
    result = read(bytes(data))
    assert texts(result) == {str(i): f"text {i}" for i in range(10) if i != 5}
    assert [(r.position, r.reason) for r in result[1]] == [(5 * 1024, "corrupt")]
    assert "1,024 bytes" in result[1][0].detail


def test_archives_that_follow_each_other_are_read() -> None:
    data = pack([("a.txt", b"a")]) + pack([("b.txt", b"b")])
    assert (texts(result := read(data)), result[1]) == ({"a": "a", "b": "b"}, [])
    result = read(data + b"something else")
    assert (texts(result), reasons(result)) == ({"a": "a", "b": "b"}, ["corrupt"])


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_every_cut_costs_exactly_one_rejection(compress: Any) -> None:
    data = pack(MANY)
    packed = compress(data)
    whole = read(packed)[0]
    for cut in [*range(600, len(packed) - 20_000, 3_331), 512, 1024, 1536]:
        documents, rejected = read(packed[:cut])
        assert len(rejected) == 1, (cut, rejected)
        assert rejected[0].reason in ("truncated", "corrupt" if compress is bytes else "")
        assert documents[:-1] == whole[: len(documents)][:-1]
        assert [d["text"] for d in documents] == [d["text"] for d in whole[: len(documents)]]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (bytes(10_240), "empty_file"),
        (b"no archive" * 1_000, "not_tar"),
        (b"x", "not_tar"),
        (gzip.compress(b"no archive" * 1_000), "not_tar"),
    ],
)
def test_a_file_without_members_costs_one_rejection(data: bytes, reason: str) -> None:
    documents, rejected = read(data)
    assert (documents, [(r.position, r.reason) for r in rejected]) == ([], [(0, reason)])


def test_a_size_beyond_all_files_is_damage() -> None:
    header = bytearray(pack([("a.txt", b"x")]))
    header[124:136] = b"\x80" + b"\x7f" * 11  # base 256
    total = sum(header[:148]) + 8 * 32 + sum(header[156:512])
    header[148:156] = b"%06o\0 " % total
    assert reasons(read(bytes(header))) == ["not_tar"]


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_mutations_never_raise(data: Any) -> None:
    archive = bytearray(pack(MANY[:12], data.draw(st.sampled_from(list(FORMATS.values())))))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(archive) - 1))
        archive[at : at + 1] = data.draw(st.binary(max_size=12))
    documents, rejected = read(bytes(archive))
    positions = [d["position"] for d in documents]
    assert positions == sorted(set(positions))
    assert len(documents) + len(rejected) <= 40


def test_the_limits_of_headers_are_below_a_record() -> None:
    assert tar_members._MAX_HEADER * tar_members._MAX_HEADERS < records.MAX_RECORD_BYTES
