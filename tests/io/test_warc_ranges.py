from __future__ import annotations

import bz2
import gzip
import io
import itertools
import random
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.io.warc import read_warc, read_wet
from mixcurate.io.warc_ranges import warc_ranges
from tests.io.warc_records import PAGE, boundaries, collect, decoded, record, response, wet

SIZES = random.Random(7)
PARTS = [record("warcinfo", b"software: x")] + [
    response(PAGE + b"%d " % i * SIZES.randint(1, 300), url=f"http://a.org/{i}")
    if i % 3
    else record("request", b"GET / HTTP/1.1\r\n\r\n")
    for i in range(30)
]
PACK = {"gzip": gzip.compress, "zstd": zstandard.ZstdCompressor().compress, "plain": bytes}
STORED = {name: list(map(pack, PARTS)) for name, pack in PACK.items()}


def read(data: bytes, start: int = 0, stop: int | None = None) -> tuple[list[Any], list[Any]]:
    documents, rejected = collect(
        read_warc(io.BytesIO(data), extract=decoded, start=start, stop=stop)
    )
    return [(d["position"], d["url"], d["text"]) for d in documents], rejected


def read_cut(data: bytes, cuts: list[int]) -> tuple[list[Any], list[Any]]:
    edges = sorted({0, len(data), *cuts})
    pieces = [read(data, a, b) for a, b in zip(edges, edges[1:], strict=False)]
    return [d for p in pieces for d in p[0]], [r for p in pieces for r in p[1]]


def split_at(data: bytes, task_bytes: int) -> list[int]:
    return [start for start, _ in warc_ranges(io.BytesIO(data), len(data), task_bytes)]


@pytest.mark.parametrize("codec", PACK)
def test_a_position_is_where_a_range_request_finds_the_record(codec: str) -> None:
    data = b"".join(STORED[codec])
    documents, rejected = read(data)
    starts = boundaries(STORED[codec])
    assert rejected == []
    assert [d[0] for d in documents] == [starts[i] for i in range(1, 31) if (i - 1) % 3]
    for i, (position, url, _) in enumerate(documents):
        end = starts[starts.index(position) + 1]
        assert [d[1] for d in read(data[position:end])[0]] == [url], i


@pytest.mark.parametrize("codec", PACK)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_ranges_give_what_the_whole_file_gives(codec: str, data: st.DataObject) -> None:
    stored = bytearray(b"".join(STORED[codec]))
    for _ in range(data.draw(st.integers(0, 3))):  # and damage does not change that
        at = data.draw(st.integers(8, len(stored) - 1))
        if data.draw(st.booleans()):
            stored[at] ^= 1 << data.draw(st.integers(0, 7))
        else:
            stored[at : at + data.draw(st.integers(1, 200))] = data.draw(st.binary(max_size=30))
    whole = bytes(stored)
    cuts = data.draw(st.lists(st.integers(1, len(whole)), max_size=6))
    cuts += data.draw(st.lists(st.sampled_from(boundaries(STORED[codec])), max_size=2))
    assert read_cut(whole, cuts) == read(whole)


def test_records_without_a_newline_between_them_are_found_in_ranges_too() -> None:
    parts = [part.removesuffix(b"\r\n\r\n") for part in PARTS[:9]]
    data = b"".join(parts)
    whole = read(data)
    assert [d[0] for d in whole[0]] == [boundaries(parts)[i] for i in (2, 3, 5, 6, 8)]
    assert whole[1] == []
    for cut in range(1, len(data), 37):
        assert read_cut(data, [cut]) == whole, cut


@pytest.mark.parametrize("codec", PACK)
def test_every_record_but_the_damaged_one_is_read(codec: str) -> None:
    starts = boundaries(STORED[codec])
    for index in (5, 12, 30):
        stored = bytearray(b"".join(STORED[codec]))
        middle = (starts[index] + starts[index + 1]) // 2
        if codec == "plain":  # its length leads into the next record
            part = PARTS[index]
            length = part.index(b"Content-Length: ") + 15 + starts[index]
            stored[length : length + 1] = b"9"
        else:
            stored[middle : middle + 8] = bytes(8)
        documents, rejected = read(bytes(stored))
        expected = [starts[i] for i in range(1, 31) if (i - 1) % 3 and i != index]
        assert [d[0] for d in documents] == expected
        assert [r.position for r in rejected] == [starts[index]]
        assert {r.reason for r in rejected} <= {"corrupt", "truncated"}


@pytest.mark.parametrize("codec", PACK)
def test_large_files_are_split_evenly(codec: str) -> None:
    data = b"".join(STORED[codec])
    ranges = warc_ranges(io.BytesIO(data), len(data), len(data) // 4)
    assert ranges[0][0] == 0
    assert ranges[-1][1] == len(data)
    assert [a[1] for a in ranges[:-1]] == [b[0] for b in ranges[1:]]
    assert all(stop - start <= len(data) // 4 for start, stop in ranges if stop)
    assert warc_ranges(io.BytesIO(data), len(data), len(data)) == [(0, None)]


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, PACK["zstd"]])
def test_a_file_compressed_as_a_whole_is_one_task(pack: Any) -> None:
    data = pack(b"".join(PARTS))
    assert warc_ranges(io.BytesIO(data), len(data), 1_000) == [(0, None)]
    documents, rejected = read(data)
    assert rejected == []
    starts = boundaries(PARTS)
    assert [d[0] for d in documents] == [starts[i] for i in range(1, 31) if (i - 1) % 3]


def test_members_that_cut_records_anywhere_are_read_as_a_whole() -> None:
    plain = b"".join(PARTS)
    data = b"".join(gzip.compress(plain[i : i + 700]) for i in range(0, len(plain), 700))
    assert split_at(data, 1_000) == [0]
    assert read(data) == read(gzip.compress(plain))


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
@pytest.mark.parametrize("size", [40, len(PARTS[2]) - 20], ids=["header", "content"])
def test_a_first_member_that_is_cut_in_its_record_is_read_as_a_whole(codec: str, size: int) -> None:
    plain = b"".join(PARTS[2:])
    for step in (900, len(plain)):
        cuts = [0, *range(size, len(plain), step), len(plain)]
        data = b"".join(PACK[codec](plain[a:b]) for a, b in itertools.pairwise(cuts))
        assert split_at(data, 1_000) == [0]
        assert read(data) == read(PACK[codec](plain))
        assert len(read(data)[0]) == 20


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_a_first_record_that_its_writer_cut_leaves_a_file_record_by_record(codec: str) -> None:
    for size in (40, len(PARTS[2]) - 20):
        data = PACK[codec](PARTS[2][:size]) + b"".join(STORED[codec][3:])
        assert len(split_at(data, 1_000)) > 1
        documents, rejected = read(data)
        assert (len(documents), [r.position for r in rejected]) == (19, [0])


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_a_damaged_second_member_leaves_a_file_record_by_record(codec: str) -> None:
    data = bytearray(b"".join(STORED[codec]))
    for at in range(boundaries(STORED[codec])[1], boundaries(STORED[codec])[2]):
        data[at] ^= 16
        assert len(split_at(bytes(data), 1_000)) > 1
        data[at] ^= 16


def test_a_member_with_many_records_among_others_loses_none() -> None:
    stored = [gzip.compress(p) for p in PARTS[:4]] + [gzip.compress(b"".join(PARTS[4:]))]
    data = b"".join(stored)
    documents, rejected = read(data)
    assert rejected == []
    assert [d[1] for d in documents] == [d[1] for d in read(b"".join(PARTS))[0]]
    assert len({d[0] for d in documents}) == len(documents)
    assert read_cut(data, [len(data) // 2, 40]) == (documents, rejected)


@pytest.mark.parametrize("packed", [True, False], ids=["compressed", "raw"])
def test_a_zstandard_dictionary_in_the_first_frame_is_used(packed: bool) -> None:
    samples = [wet(b"the same words again %d" % i * 9, f"http://a.org/{i}") for i in range(200)]
    words = zstandard.train_dictionary(2_000, samples)
    content = zstandard.ZstdCompressor().compress(words.as_bytes()) if packed else words.as_bytes()
    data = b"\x5d\x2a\x4d\x18" + len(content).to_bytes(4, "little") + content
    compress = zstandard.ZstdCompressor(dict_data=words).compress
    data += b"".join(map(compress, samples))
    documents, rejected = collect(read_wet(io.BytesIO(data)))
    assert rejected == []
    assert [d["url"] for d in documents] == [f"http://a.org/{i}" for i in range(200)]
    half = len(data) // 2
    first = collect(read_wet(io.BytesIO(data), stop=half))[0]
    assert first + collect(read_wet(io.BytesIO(data), start=half))[0] == documents
    without = data[8 + len(content) :]
    assert collect(read_wet(io.BytesIO(without)))[1] != []


@pytest.mark.parametrize("padding", [bytes(700), gzip.compress(b""), b"\0" + gzip.compress(b"")])
def test_padding_between_members_is_no_damage(padding: bytes) -> None:
    data = padding.join(STORED["gzip"]) + padding
    documents, rejected = read(data)
    assert rejected == []
    assert len(documents) == 20
    assert read_cut(data, [100, 1_000, 3_000]) == (documents, [])


def test_a_bomb_of_magic_numbers_and_of_zeros_ends() -> None:
    good = gzip.compress(PARTS[2])
    bomb = gzip.compress(b"WARC/1.0\r\n" + bytes(50 << 20))
    data = good + b"\x1f\x8b\x08\0" * 20_000 + bomb + good
    documents, rejected = read(data)
    assert [d[0] for d in documents] == [0, len(data) - len(good)]
    assert len(rejected) == 2
