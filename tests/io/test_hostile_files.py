"""Every reader, through its one entry, on files that were damaged or made to harm."""

from __future__ import annotations

import dataclasses
import gzip
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mixcurate.io import records
from mixcurate.io.inputs import plain_name
from mixcurate.io.readers import InputParams, ReadTask, read

ROWS = [{"text": f'text "{i}", Grüße\nund mehr', "n": i} for i in range(30)]


@dataclasses.dataclass(frozen=True)
class Page:
    text: str
    title: str | None = None
    licence: str | None = None


def page(body: bytes, charset: str | None, url: str | None) -> Page:
    return Page(body.decode("utf-8", "replace"))


def warc(kind: bytes, head: bytes) -> bytes:
    record = b"WARC/1.0\r\nWARC-Type: %s\r\nContent-Length: %d\r\n\r\n%s\r\n\r\n"
    bodies = [head + row["text"].encode() for row in ROWS]  # type: ignore[attr-defined]
    return b"".join(record % (kind, len(body), body) for body in bodies)


def table(kind: str) -> bytes:
    sink = io.BytesIO()
    rows = pa.Table.from_pylist(ROWS)
    if kind == "parquet":
        pq.write_table(rows, sink, row_group_size=10)
    else:
        new = pa.ipc.new_file if kind == "arrow" else pa.ipc.new_stream
        with new(sink, rows.schema) as writer:
            writer.write_table(rows, max_chunksize=10)
    return sink.getvalue()


def tar() -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for i, row in enumerate(ROWS):
            for ending in ("json", "cls"):
                content = json.dumps(row).encode()
                header = tarfile.TarInfo(f"{'ü' * (i * 5)}{i}.{ending}")
                header.size = len(content)
                archive.addfile(header, io.BytesIO(content))
    return sink.getvalue()


FILES = {
    "jsonl": b"".join(json.dumps(row).encode() + b"\n" for row in ROWS),
    "csv": b"text,n\n" + b"".join(b'"t ""%d"",\n2",%d\n' % (i, i) for i in range(30)),
    "tsv": b"text\tn\n" + b"".join(b"t%d\t%d\n" % (i, i) for i in range(30)),
    "txt": "\n".join(str(row["text"]) for row in ROWS).encode("utf-16"),
    "md": "\n\n".join(str(row["text"]) for row in ROWS).encode(),
    "tar": tar(),
    "warc": warc(b"response", b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<p>"),
    "wet": warc(b"conversion", b""),
    "parquet": table("parquet"),
    "arrow": table("arrow"),
    "feather": table("stream"),
}
PACKED = {
    f"{kind}{ending}": pack(data)
    for kind, data in FILES.items()
    if kind not in ("parquet", "arrow", "feather")
    for ending, pack in [("", bytes), (".gz", gzip.compress), (".zst", zstandard.compress)]
} | {kind: FILES[kind] for kind in ("parquet", "arrow", "feather")}
FORMATS = {"tsv": "csv", "txt": "text", "md": "text", "feather": "arrow"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile")


def read_bytes(folder: Path, name: str, data: bytes) -> tuple[list[int], list[str]]:
    """Positions of documents and reasons of rejections."""
    path = folder / f"a.{name}"
    path.write_bytes(data)
    kind = plain_name(str(path)).partition(".")[2]
    params = InputParams(path="unused", delimiter="\n" if kind == "txt" else None)
    task = ReadTask(0, str(path), "x", FORMATS.get(kind, kind), 0, None, len(data), "")
    positions: list[int] = []
    reasons = []
    for batch in read(task, params, extract=page):
        assert batch.documents.schema == records.RAW
        batch.documents.validate(full=True)
        positions += batch.documents.column("position").to_pylist()
        for rejection in batch.rejected:
            assert len(rejection.excerpt) <= 200
            assert len(rejection.detail) < 2_000
            assert rejection.position >= 0
            reasons.append(rejection.reason)
    return positions, reasons


@pytest.mark.parametrize("name", PACKED)
def test_the_files_are_good(folder: Path, name: str) -> None:
    positions, reasons = read_bytes(folder, name, PACKED[name])
    assert len(positions) == {"md": 1, "txt": 60}.get(name.partition(".")[0], 30)
    assert reasons == []


@pytest.mark.parametrize("name", PACKED)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    cuts=st.lists(
        st.tuples(st.floats(0, 1), st.integers(0, 40), st.binary(max_size=20)), max_size=4
    ),
    end=st.floats(0, 1) | st.just(1.0),
)
def test_damage_never_raises_and_is_accounted(
    folder: Path, name: str, cuts: list[tuple[float, int, bytes]], end: float
) -> None:
    data = bytearray(PACKED[name])
    for place, length, junk in cuts:
        at = int(place * len(data))
        data[at : at + length] = junk
    del data[int(end * len(data)) :]
    positions, reasons = read_bytes(folder, name, bytes(data))
    assert len(set(positions)) == len(positions)
    assert positions or reasons
    if bytes(data) == PACKED[name]:
        assert reasons == []


BOMB = """
import gzip, sys, json
from mixcurate.io import records
from mixcurate.io.readers import InputParams, ReadTask, read
name, kind, delimiter = sys.argv[1:4]
task = ReadTask(0, name, "x", kind, 0, None, 0, "")
params = InputParams(path="unused", delimiter=delimiter or None)
def peak():
    lines = open("/proc/self/status").read().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
before = peak()
batches = read(task, params, extract=lambda *page: None)
reasons = [r.reason for batch in batches for r in batch.rejected]
print(json.dumps([len(reasons), sorted(set(reasons)), (peak() - before) >> 10]))
"""


def bomb(kind: str) -> bytes:
    """Some 130 MB in a few hundred KB."""
    size = 130 << 20
    fill = b"0" * 8_192
    head = b'text,n\n"' if kind == "cell" else b""
    if kind == "name":
        header = tarfile.TarInfo("a.txt")
        header.size = size
        header.type = tarfile.GNUTYPE_LONGNAME
        head = header.tobuf(tarfile.GNU_FORMAT)
    member = gzip.compress(fill * 512, 1)
    return gzip.compress(head) + member * (size // (len(fill) * 512))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize(
    ("kind", "form", "delimiter", "reasons"),
    [
        ("text", "text", "\n", {"too_large"}),
        ("cell", "csv", "", {"too_large", "broken_row"}),
        ("name", "tar", "", {"too_large", "truncated"}),
    ],
)
def test_bombs_take_bounded_memory(
    tmp_path: Path, kind: str, form: str, delimiter: str, reasons: set[str]
) -> None:
    path = tmp_path / "bomb.gz"
    path.write_bytes(bomb(kind))
    command = [sys.executable, "-c", BOMB, str(path), form, delimiter]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    count, found, megabytes = json.loads(result.stdout)
    assert set(found) <= reasons
    assert 1 <= count <= 2
    assert megabytes < 300
