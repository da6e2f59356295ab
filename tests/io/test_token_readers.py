"""Corpora of tokens, read back by the libraries that trainers use."""

from __future__ import annotations

import importlib.metadata
from typing import Any

import pytest

from mixcurate.io.blend_files import blend_files
from mixcurate.io.corpus import TokenParams
from mixcurate.io.shard_formats.base import TokenOptions
from mixcurate.io.shard_formats.nanotron import metric
from mixcurate.transforms.tokens import token_options
from tests.io.readers import READERS, needs_readers, read_with
from tests.io.token_corpora import by_bytes, packed, shard_rows, write_corpus

pytestmark = needs_readers

LENGTH = 64


def _options() -> dict[str, TokenOptions]:
    """Ids of two bytes and of four, packed and not."""
    packed_ones = TokenParams(bos=True, sequence_length=LENGTH)
    return {
        "bytes": by_bytes(length=LENGTH),
        "packed": token_options(packed_ones, "embedded", 1),
        "whole": token_options(TokenParams(bos=True), "embedded", 1),
    }


OPTIONS = _options()
EACH = pytest.mark.parametrize("name", OPTIONS)


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A corpus for each of the options, so that a reader is loaded but once."""
    folder = tmp_path_factory.mktemp("corpora")
    for name, options in OPTIONS.items():
        manifest = write_corpus(str(folder / name), options) | {"domains": []}
        (folder / name / "mixture").mkdir()
        for path, data in blend_files(manifest).items():
            (folder / name / path).write_bytes(data)
    return str(folder)


@pytest.fixture(scope="module")
def by_megatron(corpora: str) -> list[dict[str, Any]]:
    return read_with(
        """
import warnings
warnings.simplefilter("ignore")
from megatron.core.datasets.indexed_dataset import DType, IndexedDataset
from megatron.core.datasets.utils import get_blend_from_list
for name, vocabulary in (("bytes", 300), ("packed", 131072), ("whole", 131072)):
    words = open(f"{folder}/{name}/mixture/megatron_blend.txt").read().split()
    prefixes, weights = get_blend_from_list(words)
    counts = json.load(open(f"{folder}/{name}/mixture/megatron_sequences.json"))
    for shard, prefix in enumerate(prefixes):
        data = IndexedDataset(f"{folder}/{name}/{prefix}")
        assert counts[prefix] == [data.index.sequence_count, data.index.document_count]
        emit({"name": name, "shard": shard, "weight": weights[shard],
              "documents": data.document_indices,
              "ids": [data[i].tolist() for i in range(len(data))],
              "stored": data.index.dtype.__name__,
              "wanted": DType.optimal_dtype(vocabulary).__name__})
""",
        corpora,
    )


@EACH
def test_megatron_core_reads_every_sequence(by_megatron: list[dict[str, Any]], name: str) -> None:
    mine = [row for row in by_megatron if row["name"] == name]
    assert [row["shard"] for row in mine] == [0, 1]
    tokens = [sum(map(len, row["ids"])) for row in mine]
    assert [row["weight"] for row in mine] == pytest.approx([n / sum(tokens) for n in tokens])
    for row in mine:
        expected = packed(shard_rows(row["shard"]), OPTIONS[name], row["shard"])
        assert row["ids"] == expected
        assert row["documents"] == list(range(len(expected) + 1))
        assert row["stored"] == row["wanted"]


@pytest.fixture(scope="module")
def by_datatrove(corpora: str) -> list[dict[str, Any]]:
    return read_with(
        f"""
from datatrove.utils.dataset import DatatroveFolderDataset
for name, size in (("bytes", 2), ("packed", 4), ("whole", 4)):
    data = DatatroveFolderDataset(f"{{folder}}/{{name}}/nanotron/train", seq_len={LENGTH - 1},
                                  token_size=size, return_positions=True)
    for i in range(len(data)):
        emit({{"name": name, "ids": data[i]["input_ids"], "positions": data[i]["positions"]}})
""",
        corpora,
    )


def flat(name: str, shard: int) -> list[int]:
    return [token for row in packed(shard_rows(shard), OPTIONS[name], shard) for token in row]


def windows(tokens: list[int]) -> list[list[int]]:
    starts = range(0, len(tokens) - LENGTH + 1, LENGTH)
    return [tokens[start : start + LENGTH] for start in starts]


@EACH
def test_datatrove_reads_windows(by_datatrove: list[dict[str, Any]], name: str) -> None:
    """Its windows are the packed sequences; what is left of a file it leaves out."""
    mine = [row for row in by_datatrove if row["name"] == name]
    assert [row["ids"] for row in mine] == windows(flat(name, 0)) + windows(flat(name, 1))
    for row in mine:
        ends = [i for i, token in enumerate(row["ids"][:-1]) if token == OPTIONS[name].eos]
        assert all(row["positions"][at] == 0 for at in (0, *(end + 1 for end in ends)))


def test_the_metadata_is_as_datatrove_writes_it() -> None:
    (found,) = read_with(
        """
import humanize
emit({"texts": [humanize.metric(n, unit="T") for n in (0, 7, 999, 1000, 12345, 999999, 10**9)]})
""",
        ".",
    )
    assert [metric(n) for n in (0, 7, 999, 1_000, 12_345, 999_999, 10**9)] == found["texts"]


@pytest.fixture(scope="module")
def by_litdata(corpora: str) -> list[dict[str, Any]]:
    return read_with(
        f"""
from litdata import StreamingDataset
from litdata.streaming.item_loader import TokensLoader
for name in ("bytes", "packed", "whole"):
    data = StreamingDataset(f"{{folder}}/{{name}}/litdata_tokens/train",
                            item_loader=TokensLoader({LENGTH}), shuffle=False)
    for i in range(len(data)):
        emit({{"name": name, "ids": data[i]}})
""",
        corpora,
    )


@EACH
def test_litdata_reads_blocks(by_litdata: list[dict[str, Any]], name: str) -> None:
    expected = []
    for shard in (0, 1):
        tokens = flat(name, shard)
        if name != "whole":
            tokens += [OPTIONS[name].eos or 0] * (-len(tokens) % LENGTH)
        expected += windows(tokens)
    assert [row["ids"] for row in by_litdata if row["name"] == name] == expected


def test_the_readers_are_the_ones_that_were_meant() -> None:
    found = {d.metadata["Name"] for d in importlib.metadata.distributions(path=[str(READERS)])}
    assert {"megatron-core", "datatrove", "litdata"} <= found
