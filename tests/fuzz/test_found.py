"""What fuzzing found once, each as a test of its own."""

from __future__ import annotations

import bz2
import io
import lzma
import random
from unittest import mock

import pytest

from mixcurate.io import compression
from mixcurate.io.compression import open_plain


@pytest.mark.parametrize("pack", [bz2.compress, lzma.compress])
def test_output_that_fills_its_bound_as_the_input_ends_is_not_a_cut_file(pack) -> None:
    content = random.Random(1).randbytes(500)
    for bound in range(40, 120):
        with (
            mock.patch.object(compression, "_INPUT", 48),
            mock.patch.object(compression, "_OUTPUT", bound),
        ):
            stream = open_plain(io.BytesIO(pack(content) * 2), "x")
            assert stream.read(10_000) == content * 2
            assert stream.error is None
