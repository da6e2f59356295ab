from __future__ import annotations

import gc
import hashlib
import io

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from mixcurate.io.hashing_stream import HashingStream, buffered


@given(st.lists(st.binary(max_size=3_000_000 // 100), max_size=200))
def test_small_pieces_are_written_and_hashed_as_one(pieces: list[bytes]) -> None:
    below, whole = io.BytesIO(), b"".join(pieces)
    stream = HashingStream(below, hashlib.sha256(), xxhash.xxh64())
    written = 0
    with buffered(stream) as buffer:
        for piece in pieces:
            buffer.write(piece)
            written += len(piece)
            assert buffer.tell() == written
    assert below.getvalue() == whole
    assert stream.size == len(whole)
    assert stream.digests == [hashlib.sha256(whole).hexdigest(), xxhash.xxh64_hexdigest(whole)]


def test_what_a_writer_that_fails_has_left_is_never_written() -> None:
    below = io.BytesIO()
    stream = HashingStream(below)

    def write() -> None:
        with buffered(stream) as buffer:
            buffer.write(b"half")
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        write()
    gc.collect()
    assert below.getvalue() == b""


def test_a_full_disk_is_told_at_the_end_of_the_block() -> None:
    class Full(io.BytesIO):
        def write(self, data: object) -> int:
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"), buffered(HashingStream(Full())) as buffer:
        buffer.write(b"some")
