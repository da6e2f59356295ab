from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import tracemalloc
import zlib

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.io.compression import PlainStream, compression_of, open_plain

PACK = {
    "gzip": lambda data: gzip.compress(data, 6),
    "zstd": lambda data: zstandard.ZstdCompressor(write_checksum=True).compress(data),
    "bz2": bz2.compress,
    "xz": lzma.compress,
}
TEXT = b"".join(b"%d line %d of some text\n" % (i, i * 7919 % 1009) for i in range(30_000))


def drain(stream: PlainStream, size: int = 10_000) -> bytes:
    return b"".join(iter(lambda: stream.read(size), b""))


def unpack(data: bytes, size: int = 10_000) -> tuple[bytes, str | None]:
    stream = open_plain(io.BytesIO(data), "test")
    return drain(stream, size), stream.error


@pytest.mark.parametrize("codec", PACK)
def test_round_trip_is_chosen_by_content(codec: str) -> None:
    stream = open_plain(io.BytesIO(PACK[codec](TEXT)), "misleading.txt")
    assert drain(stream) == TEXT
    assert (stream.codec, stream.error, stream.tell()) == (codec, None, len(TEXT))


@pytest.mark.parametrize("codec", PACK)
def test_members_and_padding_are_read_through(codec: str) -> None:
    pack = PACK[codec]
    data = pack(TEXT) + pack(b"") + bytes(100) + pack(b"the end") + bytes(7)
    assert unpack(data) == (TEXT + b"the end", None)


@pytest.mark.parametrize("codec", PACK)
def test_an_empty_member_is_an_empty_file(codec: str) -> None:
    assert unpack(PACK[codec](b"")) == (b"", None)


@pytest.mark.parametrize("content", [b"", b"a", b"plain\n" * 50_000, b"BZh9 is plain", b"\x1f\x8b"])
def test_plain_content_is_left_alone(content: bytes) -> None:
    stream = open_plain(io.BytesIO(content), "x.gz")
    assert drain(stream) == content
    assert (stream.codec, stream.error) == (None, None)


@pytest.mark.parametrize("codec", PACK)
def test_every_cut_is_told_and_gives_what_precedes_it(codec: str) -> None:
    packed = PACK[codec](TEXT)
    cuts = [11, 12, 20, len(packed) - 1, len(packed) - 5]
    cuts += random.Random(codec).sample(range(20, len(packed)), 15)
    for cut in cuts:
        plain, error = unpack(packed[:cut])
        assert TEXT.startswith(plain), cut
        assert error is not None, cut
        assert "too early" in error, cut


def test_a_cut_gzip_gives_every_byte_that_zlib_can_give() -> None:
    packed = gzip.compress(TEXT)
    for cut in (1_000, 33_333, len(packed) - 8):
        assert unpack(packed[:cut])[0] == zlib.decompressobj(31).decompress(packed[:cut])


def test_a_wrong_checksum_loses_no_byte() -> None:
    packed = bytearray(gzip.compress(TEXT))
    packed[-6] ^= 1  # of the CRC
    plain, error = unpack(bytes(packed))
    assert plain == TEXT
    assert error is not None
    assert "corrupt" in error


def test_a_flipped_bit_gives_the_bytes_before_it() -> None:
    packed = bytearray(gzip.compress(TEXT))
    middle = len(packed) // 2
    before = zlib.decompressobj(31).decompress(bytes(packed[: middle - 1]))
    packed[middle] ^= 0xFF
    plain, error = unpack(bytes(packed))
    assert plain.startswith(before)
    assert len(before) > len(TEXT) // 3
    assert error is not None


@pytest.mark.parametrize("codec", PACK)
def test_something_else_after_the_data_is_told(codec: str) -> None:
    plain, error = unpack(PACK[codec](TEXT) + b"trailing words")
    assert plain == TEXT
    assert error is not None
    assert "something else" in error


@pytest.mark.parametrize("codec", PACK)
def test_peek_and_seek_agree_with_read(codec: str) -> None:
    stream = open_plain(io.BytesIO(PACK[codec](TEXT)), "x")
    assert stream.peek(5) == TEXT[:5]
    assert stream.tell() == 0
    stream.seek(400_000)
    assert stream.read(50) == TEXT[400_000:400_050]
    assert stream.peek(len(TEXT)) == TEXT[400_050:]


@settings(max_examples=60, deadline=None)
@given(
    data=st.binary(max_size=5_000),
    codec=st.sampled_from([None, *PACK]),
    sizes=st.lists(st.integers(1, 3_000), min_size=1, max_size=20),
)
def test_any_sizes_of_reads_give_the_same_bytes(
    data: bytes, codec: str | None, sizes: list[int]
) -> None:
    if codec is None and compression_of(data):
        return
    stream = open_plain(io.BytesIO(PACK[codec](data) if codec else data), "x")
    got, offset = [], 0
    while piece := stream.read(sizes[len(got) % len(sizes)]):
        assert piece == data[offset : offset + sizes[len(got) % len(sizes)]]
        got.append(piece)
        offset += len(piece)
    assert offset == len(data)


@settings(max_examples=150, deadline=None)
@given(
    codec=st.sampled_from(sorted(PACK)),
    position=st.floats(0, 1, exclude_max=True),
    junk=st.binary(min_size=1, max_size=30),
)
def test_damage_never_raises(codec: str, position: float, junk: bytes) -> None:
    packed = bytearray(PACK[codec](TEXT[:3_000]))
    at = int(position * len(packed))
    packed[at : at + len(junk)] = junk
    plain, _ = unpack(bytes(packed), 777)
    assert len(plain) < 1_000_000


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_a_bomb_is_read_in_bounded_memory(codec: str) -> None:
    """128 MiB of zeros, read by 64 KiB: neither codec may unpack much more than it was asked."""
    piece = bytes(1 << 20)
    if codec == "gzip":
        packer = zlib.compressobj(1, wbits=31)
    else:
        packer = zstandard.ZstdCompressor(level=1).compressobj()
    bomb = b"".join([packer.compress(piece) for _ in range(128)] + [packer.flush()])
    stream = open_plain(io.BytesIO(bomb), "bomb")
    tracemalloc.start()
    total = 0
    while data := stream.read(64 << 10):
        total += len(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 128 << 20
    assert stream.error is None
    assert peak < 110 << 20
