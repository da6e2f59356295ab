"""What must hold for WARC files besides: every set of ranges gives the same as the whole file."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from mixcurate.io import warc_frames, warc_ranges
from mixcurate.io.compression import compression_of
from mixcurate.io.readers import InputParams
from mixcurate.io.warc_frames import Frame
from mixcurate.io.warc_ranges import read_frames
from tests.fuzz.properties import (
    CHOICES,
    Choices,
    Found,
    assert_same,
    damaged,
    is_large,
    limits,
    packed,
    params_of,
    read_tasks,
    task_of,
    with_lengths,
)


def check_warc(name: str, data: bytes, folder: Path) -> None:
    """Read a WARC or WET file as a whole and in ranges: plain, packed, and damaged then."""
    content, choices = data[:-CHOICES], Choices.of(data[-CHOICES:])
    if is_large(content):
        return
    if choices.repair:
        content = with_lengths(content)
    params = params_of(name, choices, folder)
    with limits(choices.small_limits), _small_steps(choices.small_limits):
        whole = _check_stored(content, params, choices)
        if compression_of(content) is not None:
            return
        frames = [f for f in read_frames(io.BytesIO(content), 0, None) if isinstance(f, Frame)]
        edges = [0, *[frame.position for frame in frames[1:]], len(content)]
        records = [content[start:stop] for start, stop in itertools.pairwise(edges)]
        by_record = b"".join(packed(record, choices, whole=True) for record in records)
        good = all(frame.damage is None and frame.present == frame.length for frame in frames)
        found = _check_stored(by_record, params, choices)
        if good and frames and not _is_damaged(whole):
            assert_same(_unplaced(found), _unplaced(whole), "record by record")
        if len(records) > 1:
            found = _check_stored(packed(content, choices, whole=True), params, choices)
            if good and not _is_damaged(whole):
                assert_same(found, whole, "packed as a whole")
        _check_stored(damaged(by_record, choices), params, choices)


def _check_stored(stored: bytes, params: InputParams, choices: Choices) -> Found:
    """What a file gives, the same in all ranges."""
    whole = read_tasks([task_of(params)], params, stored)
    size = len(stored)
    if warc_ranges.warc_ranges(io.BytesIO(stored), size, 1) == [(0, None)]:
        return whole
    if not _can_be_entered(stored):
        return whole
    edges = sorted({0, size, *[cut * size // 255 for cut in choices.cuts]})
    tasks = [task_of(params, start, stop) for start, stop in itertools.pairwise(edges)]
    assert_same(read_tasks(tasks, params, stored), whole, f"in ranges {edges}")
    return whole


def _can_be_entered(stored: bytes) -> bool:
    """Whether what looks like a record is one: a range takes an archive in a record for records."""
    found = [f.position for f in read_frames(io.BytesIO(stored), 0, None) if isinstance(f, Frame)]
    codec = compression_of(stored)
    if codec is None:
        return stored.count(b"WARC/") == len(found)
    # a member that does not compress is stored as it is, with an archive that its record holds
    return all(match.start() in found for match in warc_ranges._MAGIC[codec].finditer(stored))


def _is_damaged(found: Found) -> bool:
    return any(reason in ("truncated", "corrupt", "not_warc") for _, reason, *_ in found.rejected)


def _unplaced(found: Found) -> Found:
    """Without positions, which are of stored bytes."""
    documents = [{**document, "position": 0} for document in found.documents]
    rejected = [(0, *rejection[1:]) for rejection in found.rejected]
    return dataclasses.replace(found, documents=documents, rejected=rejected)


@contextlib.contextmanager
def _small_steps(small: bool) -> Iterator[None]:
    if not small:
        yield
        return
    with (
        mock.patch.object(warc_frames, "_STEP", 128),
        mock.patch.object(warc_frames, "HEADER", 400),
        mock.patch.object(warc_ranges, "_STEP", 100),
        mock.patch.object(warc_ranges, "_INPUT", 48),
        mock.patch.object(warc_ranges, "_OUTPUT", 80),
    ):
        yield
