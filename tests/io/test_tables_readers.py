from __future__ import annotations

import datetime
import decimal
import io
import json
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mixcurate.errors import InputError
from mixcurate.io import records
from mixcurate.io.arrow_ipc import read_arrow
from mixcurate.io.huggingface import is_hidden, list_data_files
from mixcurate.io.parquet import read_parquet, row_group_sizes
from mixcurate.io.records import FieldParams, Rejection

FIELDS = FieldParams()


def collect(batches: Any) -> tuple[list[dict[str, Any]], list[Rejection]]:
    documents, rejected = [], []
    for batch in batches:
        assert batch.documents.schema == records.RAW
        documents += batch.documents.to_pylist()
        rejected += batch.rejected
    return documents, rejected


def parquet_bytes(table: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def arrow_bytes(table: pa.Table, kind: str, rows: int = 100) -> bytes:
    sink = io.BytesIO()
    new = pa.ipc.new_stream if kind == "stream" else pa.ipc.new_file
    with new(sink, table.schema) as writer:
        for batch in table.to_batches(max_chunksize=rows):
            writer.write_batch(batch)
    return sink.getvalue()


def parquet(data: bytes, **options: Any) -> tuple[list[dict[str, Any]], list[Rejection]]:
    return collect(read_parquet(io.BytesIO(data), **{"fields": FIELDS, **options}))


def arrow(
    data: bytes, fields: FieldParams = FIELDS
) -> tuple[list[dict[str, Any]], list[Rejection]]:
    return collect(read_arrow(io.BytesIO(data), fields=fields))


READ = {
    "parquet": lambda table, **o: parquet(parquet_bytes(table), **o),
    "stream": lambda table, **o: arrow(arrow_bytes(table, "stream"), **o),
    "file": lambda table, **o: arrow(arrow_bytes(table, "file"), **o),
}
every_format = pytest.mark.parametrize("kind", READ)

TABLE = pa.table({"text": [f"text {i}" for i in range(2_500)], "n": range(2_500)})


def text_of(documents: list[dict[str, Any]]) -> list[str]:
    return [d["text"] for d in documents]


@every_format
def test_columns_land_where_they_belong(kind: str) -> None:
    table = pa.table(
        {
            "body": ["Grüße", "世界"],
            "link": ["http://a.org/", None],
            "rights": pa.array(["CC0", "CC0"]).dictionary_encode(),
            "key": [7, 8],
            "when": pa.array([datetime.datetime(2024, 5, 6, 7, 8, 9)] * 2, pa.timestamp("us")),
            "price": [decimal.Decimal("1.50")] * 2,
            "tags": [["a"], []],
            "small": [b"word", b"\xff\x00"],
            "image": [{"bytes": b"x" * 2_000, "path": "i.png"}] * 2,
        }
    )
    fields = FieldParams(
        text_field="body", url_field="link", licence_field="rights", id_field="key"
    )
    documents, rejected = READ[kind](table, fields=fields)
    assert rejected == []
    metadata = {
        "image": {"bytes": None, "path": "i.png"},
        "price": "1.50",
        "small": "word",
        "tags": ["a"],
        "when": "2024-05-06T07:08:09",
    }
    assert json.loads(documents[0].pop("metadata")) == metadata
    assert json.loads(documents[1].pop("metadata")) == {**metadata, "tags": [], "small": "/wA="}
    assert documents == [
        {"position": 0, "own_id": "7", "text": "Grüße", "url": "http://a.org/", "licence": "CC0"},
        {"position": 1, "own_id": "8", "text": "世界", "url": None, "licence": "CC0"},
    ]


@every_format
@pytest.mark.parametrize(
    "kind_of_text",
    [pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string()), pa.binary()],
    ids=str,
)
def test_every_type_of_text_is_read(kind: str, kind_of_text: pa.DataType) -> None:
    words = pa.array(["ä", None, "ä", "c" * 1_500])
    column = words.dictionary_encode() if "dictionary" in str(kind_of_text) else words
    documents, rejected = READ[kind](pa.table({"text": column.cast(kind_of_text)}))
    assert text_of(documents) == ["ä", "ä", "c" * 1_500]
    assert [d["position"] for d in documents] == [0, 2, 3]
    assert [(r.position, r.reason) for r in rejected] == [(1, "no_text_field")]


@every_format
def test_rows_without_text_are_rejected_one_by_one(kind: str) -> None:
    documents, rejected = READ[kind](pa.table({"body": ["a"] * 4_500, "n": range(4_500)}))
    assert documents == []
    assert [r.position for r in rejected] == list(range(4_500))
    assert {(r.reason, r.detail) for r in rejected} == {
        ("no_text_field", "column 'text' is missing; the file has: body, n")
    }
    documents, rejected = READ[kind](pa.table({"text": [1, 2]}))
    assert [(r.position, r.reason) for r in rejected] == [
        (0, "no_text_field"),
        (1, "no_text_field"),
    ]
    assert "is int, not text" in rejected[0].detail


@every_format
@pytest.mark.parametrize("encoded", [False, True])
def test_text_that_is_not_utf8_costs_its_row_only(kind: str, encoded: bool) -> None:
    raw = pa.array([b"good", b"caf\xe9", b"fine"])
    text = pa.StringArray.from_buffers(3, *raw.buffers()[1:])
    other = pa.StringArray.from_buffers(3, *raw.buffers()[1:])
    if encoded:
        text = pa.DictionaryArray.from_arrays(pa.array([0, 1, 2]), text)
    documents, rejected = READ[kind](pa.table({"text": text, "other": other}))
    if encoded and kind == "parquet":  # Arrow itself refuses such a dictionary as a whole
        assert (documents, [r.reason for r in rejected]) == ([], ["corrupt"])
        return
    assert text_of(documents) == ["good", "fine"]
    assert [(r.position, r.reason) for r in rejected] == [(1, "invalid_utf8")]
    assert rejected[0].excerpt == "caf�"
    assert json.loads(documents[1]["metadata"]) == {"other": "fine"}


def test_what_python_has_no_type_for_becomes_text() -> None:
    far = pa.array([10**18, 0], pa.timestamp("us"))
    broken = pa.StringArray.from_buffers(2, *pa.array([b"\xff", b"ok"]).buffers()[1:])
    documents, rejected = parquet(
        parquet_bytes(pa.table({"text": ["a", "b"], "far": far, "broken": broken}))
    )
    assert rejected == []
    metadata = [json.loads(d["metadata"]) for d in documents]
    assert [m["broken"] for m in metadata] == ["�", "ok"]
    assert metadata[1]["far"] == "1970-01-01T00:00:00"


@every_format
def test_a_cell_above_the_limit_is_rejected(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MAX_RECORD_BYTES", 1_000)
    documents, rejected = READ[kind](pa.table({"text": ["ä" * 500, "ä" * 501, "b"]}))
    assert [d["position"] for d in documents] == [0, 2]
    assert [(r.position, r.reason) for r in rejected] == [(1, "too_large")]
    assert "1,002 bytes" in rejected[0].detail


@every_format
def test_batches_stay_small(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "BATCH_BYTES", 100_000)
    column = pa.array(["x" * 30_000] * 50).dictionary_encode()  # small on disk, large as text
    data = arrow_bytes(pa.table({"text": column}), kind, rows=50) if kind != "parquet" else b""
    if kind == "parquet":
        batches = list(
            read_parquet(io.BytesIO(parquet_bytes(pa.table({"text": column}))), fields=FIELDS)
        )
    else:
        batches = list(read_arrow(io.BytesIO(data), fields=FIELDS))
    assert [b.documents.num_rows for b in batches] == [4] * 12 + [2]


def test_row_group_ranges_read_as_the_whole() -> None:
    data = parquet_bytes(TABLE, row_group_size=300)
    whole = parquet(data)
    assert text_of(whole[0]) == TABLE["text"].to_pylist()
    assert [d["position"] for d in whole[0]] == list(range(2_500))
    parts = [parquet(data, start=a, stop=b) for a, b in [(0, 1), (1, 4), (4, 9), (9, None)]]
    assert [d for documents, _ in parts for d in documents] == whole[0]
    assert len(row_group_sizes(io.BytesIO(data))) == 9
    assert 0.5 * len(data) < sum(row_group_sizes(io.BytesIO(data))) < len(data)


def test_a_missing_column_is_told_by_range_too() -> None:
    data = parquet_bytes(TABLE.rename_columns(["a", "b"]), row_group_size=1_000)
    _, rejected = parquet(data, start=1, stop=2)
    assert [r.position for r in rejected] == list(range(1_000, 2_000))


@pytest.mark.parametrize(
    "content", [b"<html></html>", b"\x89PNG" + bytes(500), b"PAR", b"{}\n" * 99]
)
def test_a_file_that_is_no_table_costs_one_rejection(content: bytes) -> None:
    assert [(r.position, r.reason) for r in parquet(content)[1]] == [(0, "not_parquet")]
    assert [(r.position, r.reason) for r in arrow(content)[1]] == [(0, "not_arrow")]
    assert row_group_sizes(io.BytesIO(content)) == []


def test_a_parquet_file_without_its_end_is_truncated() -> None:
    data = parquet_bytes(TABLE)
    for cut in (4, 10, 1_000, len(data) - 1):
        documents, rejected = parquet(data[:cut])
        assert (documents, [r.reason for r in rejected]) == ([], ["truncated"])


def test_a_corrupt_row_group_leaves_the_others() -> None:
    data = bytearray(
        parquet_bytes(TABLE, row_group_size=500, write_page_checksum=True, use_dictionary=False)
    )
    group = pq.ParquetFile(io.BytesIO(data)).metadata.row_group(2).column(0)
    middle = group.data_page_offset + group.total_compressed_size // 2
    data[middle : middle + 20] = bytes(20)
    documents, rejected = parquet(bytes(data))
    assert [d["position"] for d in documents] == [*range(1_000), *range(1_500, 2_500)]
    assert [(r.position, r.reason) for r in rejected] == [(1_000, "corrupt")]
    assert "rows 1,000 to 1,499 of row group 2" in rejected[0].detail


@pytest.mark.parametrize("kind", ["stream", "file"])
def test_a_cut_arrow_file_keeps_its_whole_batches(kind: str) -> None:
    data = arrow_bytes(TABLE, kind, rows=100)
    whole = arrow(data)
    assert text_of(whole[0]) == TABLE["text"].to_pylist()
    assert whole[1] == []
    for cut in [600, len(data) // 3, len(data) // 2, len(data) - 9, len(data) - 1]:
        documents, rejected = arrow(data[:cut])
        assert documents == whole[0][: len(documents)]
        assert len(documents) % 100 == 0
        assert len(documents) >= (cut / len(data) - 0.2) * 2_500
        assert [(r.position, r.reason) for r in rejected] == [(len(documents), "truncated")], cut
    assert [r.reason for r in arrow(data[:5])[1]] == ["not_arrow"]


def test_a_stream_cut_between_batches_is_told() -> None:
    data = arrow_bytes(TABLE, "stream")[:-8]  # without its end mark
    documents, rejected = arrow(data)
    assert len(documents) == 2_500
    assert [(r.position, r.reason) for r in rejected] == [(2_500, "truncated")]


def test_a_failing_disk_is_no_rejection() -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError(5, "Input/output error")

    for batches in (
        read_parquet(Failing(parquet_bytes(TABLE)), fields=FIELDS),
        read_arrow(Failing(arrow_bytes(TABLE, "stream")), fields=FIELDS),
    ):
        with pytest.raises(OSError, match="Input/output"):
            list(batches)


def save(folder: Path, shards: int = 1) -> list[str]:
    texts = [f"text {i}" for i in range(30)]
    datasets.disable_progress_bars()
    datasets.Dataset.from_dict({"text": texts}).save_to_disk(str(folder), num_shards=shards)
    return texts


def read_all(files: list[str]) -> list[str]:
    texts = []
    for file in files:
        with Path(file).open("rb") as stream:
            documents, rejected = collect(read_arrow(stream, fields=FIELDS))
        assert rejected == []
        texts += text_of(documents)
    return texts


def test_saved_datasets_are_read_in_order(tmp_path: Path) -> None:
    texts = save(tmp_path / "one", shards=3)
    files = list_data_files(str(tmp_path / "one"))
    assert [Path(f).name for f in files] == [f"data-0000{i}-of-00003.arrow" for i in range(3)]
    assert read_all(files) == texts
    split = datasets.Dataset.from_dict({"text": ["x"]})
    both = datasets.DatasetDict(train=datasets.load_from_disk(str(tmp_path / "one")), test=split)
    both.save_to_disk(str(tmp_path / "both"))
    files = list_data_files(str(tmp_path / "both"))
    assert [Path(f).parent.name for f in files] == ["test", "train"]
    assert read_all(files) == ["x", *texts]


def test_a_folder_of_files_is_searched_below(tmp_path: Path) -> None:
    for name in ["b/2.parquet", "a.jsonl", "b/1.jsonl.zst", "c.arrow", "d.txt", ".git/x.jsonl"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = [str(Path(f).relative_to(tmp_path)) for f in list_data_files(str(tmp_path))]
    assert found == ["a.jsonl", "b/1.jsonl.zst", "b/2.parquet", "c.arrow"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "no data in the dataset folder"),
        ({"state.json": '{"_data_files": []}'}, "no data in the dataset folder"),
        ({"state.json": "{"}, "cannot read '_data_files'"),
        ({"state.json": "[]"}, "cannot read '_data_files'"),
        ({"state.json": '{"_data_files": {}}'}, "is not a list"),
        ({"state.json": '{"_data_files": [{"filename": "../../x"}]}'}, "'../../x'"),
        ({"state.json": '{"_data_files": [{"filename": "/etc/x"}]}'}, "'/etc/x'"),
        ({"state.json": '{"_data_files": [1]}'}, "None"),
        ({"dataset_dict.json": '{"splits": ["train"]}'}, "train/state.json"),
        ({"dataset_dict.json": '{"splits": [".."]}'}, "'..'"),
    ],
)
def test_a_broken_folder_is_named(tmp_path: Path, files: dict[str, str], message: str) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(InputError) as error:
        list_data_files(str(tmp_path))
    assert message in str(error.value)
    assert tmp_path.name in str(error.value)


def test_hidden_is_told_below_the_folder_only(tmp_path: Path) -> None:
    folder = str(tmp_path / ".cache" / "_data")
    assert not is_hidden(f"{folder}/a/b.jsonl", folder)
    assert not is_hidden(f"{folder}/_b.jsonl", folder)
    for name in (".b.jsonl", ".tmp-x.jsonl.1", "a/.git/b.jsonl", "_delta_log/0.json"):
        assert is_hidden(f"{folder}/{name}", folder)
