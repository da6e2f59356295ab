from __future__ import annotations

import gzip
import http.server
import io
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from mixcurate.errors import InputError, MissingExtra
from mixcurate.io import storage
from tests.io.test_listing import JSONL, listed, read_all, tasks_of, write


class FakeHub(MemoryFileSystem):
    protocol = "hf"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return MemoryFileSystem._strip_protocol(path.removeprefix("hf://"))


def test_a_dataset_of_the_hub_is_its_data_files() -> None:
    fsspec.register_implementation("hf", FakeHub, clobber=True)
    try:
        fs = fsspec.filesystem("hf")
        fs.pipe("/datasets/user/set/README.md", b"# card")
        fs.pipe("/datasets/user/set/data/train.jsonl", JSONL)
        fs.pipe("/datasets/user/set/data/extra.csv.gz", gzip.compress(b"text\nx\n"))
        found = tasks_of("", path="hf://datasets/user/set")
        assert [t.shown_path for t in found] == [
            "hf:///datasets/user/set/data/extra.csv.gz",
            "hf:///datasets/user/set/data/train.jsonl",
        ]
        assert len(read_all(found)[0]) == 2_001
        [one] = tasks_of("", path="hf://datasets/user/set/data/*.jsonl")
        assert one.format == "jsonl"
    finally:
        fsspec.register_implementation("hf", "huggingface_hub.HfFileSystem", clobber=True)


def test_a_store_that_fails_is_an_input_error_and_no_bad_data(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class StoreError(Exception):
        pass

    sink = io.BytesIO()
    pq.write_table(pa.table({"text": ["a"] * 10}), sink)
    fs = fsspec.filesystem("memory")
    fs.pipe("/store/a.parquet", sink.getvalue())
    fs.pipe("/store/a.jsonl", JSONL)
    fs.pipe("/store/a.arrow", b"ARROW1")
    try:
        found = tasks_of("", path="memory://store/*")

        def fail(*args: object) -> bytes:
            raise StoreError("503\nSlow down")

        class Failing(io.BytesIO):
            read = fail  # type: ignore[assignment]

        monkeypatch.setattr(MemoryFileSystem, "open", lambda *args, **kwargs: Failing())
        for task in found:
            with pytest.raises(InputError, match=r"cannot read .*: StoreError: 503 Slow down"):
                read_all([task])
        monkeypatch.setattr(MemoryFileSystem, "isfile", fail)
        with pytest.raises(InputError, match=r"cannot list memory://store/a\.jsonl: StoreError"):
            tasks_of("", path="memory://store/a.jsonl")
    finally:
        monkeypatch.undo()
        fs.rm("/store", recursive=True)


class Handler(http.server.SimpleHTTPRequestHandler):
    """A server of files, with ranges unless the path says otherwise."""

    asked: ClassVar[list[str]] = []

    def log_message(self, *args: Any) -> None:
        self.asked.append(self.requestline)

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        span = self.headers.get("Range")
        if "plain" in self.path:
            self.send_response(200)
            self.send_header("Accept-Ranges", "none")
        elif span:
            first, last = span.removeprefix("bytes=").split("-")
            whole = len(data)
            data = data[int(first) : int(last or whole) + 1]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{int(first) + len(data) - 1}/{whole}")
        else:
            self.send_response(200)
            self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", '"v1"')
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    def handler(*args: Any) -> Handler:
        return Handler(*args, directory=str(tmp_path))

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()
        thread.join()


def test_a_url_is_one_file(tmp_path: Path, server: str) -> None:
    sink = io.BytesIO()
    pq.write_table(
        pa.table({"text": [os.urandom(30).hex() for _ in range(900)]}), sink, row_group_size=300
    )
    write(
        tmp_path,
        {"a.jsonl.gz": gzip.compress(JSONL), "b.jsonl": JSONL, "c.parquet": sink.getvalue()},
    )
    write(tmp_path, {"plain/b.jsonl": JSONL, "plain/c.parquet": sink.getvalue()})
    [packed] = tasks_of("", path=f"{server}/a.jsonl.gz?download=true")
    assert (packed.format, packed.version) == ("jsonl", 'etag:"v1"')
    assert len(read_all([packed])[0]) == 2_000
    for name, count in [("b.jsonl", 2_000), ("c.parquet", 900)]:
        cut = tasks_of("", 10_000, path=f"{server}/{name}")
        assert len(cut) > 2
        assert len(read_all(cut)[0]) == count
    [streamed] = tasks_of("", 10_000, path=f"{server}/plain/b.jsonl")  # the server knows no ranges
    assert len(read_all([streamed])[0]) == 2_000
    [table] = tasks_of("", 10_000, path=f"{server}/plain/c.parquet")
    with pytest.raises(InputError, match="gives no parts of a file, which parquet needs"):
        read_all([table])


def test_listed_urls_are_read_and_not_asked_for_before(tmp_path: Path, server: str) -> None:
    write(tmp_path, {"x/a.jsonl": JSONL, "x/b.csv": b"text\nfrom b\n"})
    path = listed(tmp_path, "x/a.jsonl", "x/b.csv", "x/gone.jsonl")
    Handler.asked.clear()
    found = tasks_of(tmp_path, 1_000, path=path, root=server)
    assert [t.shown_path for t in found] == [
        f"{server}/x/{n}" for n in ("a.jsonl", "b.csv", "gone.jsonl")
    ]
    assert Handler.asked == []
    assert len(read_all(found[:2])[0]) == 2_001
    with pytest.raises(InputError, match=r"cannot read .*gone.jsonl: no such file"):
        read_all(found[2:])


def test_a_url_that_is_wrong_is_named(server: str) -> None:
    with pytest.raises(InputError, match=r"cannot list .*/nothing.jsonl: no such file"):
        tasks_of("", path=f"{server}/nothing.jsonl")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def without(path: str) -> Any:
        raise ImportError("aiohttp")

    monkeypatch.setattr(storage, "url_to_fs", without)
    with pytest.raises(MissingExtra, match="pip install aiohttp"):
        tasks_of("", path="https://example.org/a.jsonl")
