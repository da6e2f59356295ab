"""How each format that was written is read, for the dataset card: lines to paste."""

from __future__ import annotations

import posixpath
from typing import Any

_ARROW = """```python
from datasets import load_from_disk

corpus = load_from_disk(CORPUS)["train"]
```"""

_PARQUET = """```python
from datasets import load_dataset

corpus = load_dataset("parquet", data_files=CORPUS + "/parquet/train-*.parquet", split="train")
```"""

_JSONL = """```python
from datasets import load_dataset

corpus = load_dataset("json", data_files=CORPUS + "/jsonl/train-*.jsonl.zst", split="train")
```"""

_WEBDATASET = """```python
import json, webdataset

tars = CORPUS + "/wds/train-{{000000..{last:06d}}}.tar"
for sample in webdataset.WebDataset(tars, shardshuffle=False):
    text, about = sample["txt"].decode(), json.loads(sample["json"])
```"""

_MDS = """```python
from streaming import StreamingDataset

corpus = StreamingDataset(local=CORPUS + "/mds/train", batch_size=32)
```"""

_LITDATA = """```python
from litdata import StreamingDataset
from litdata.streaming.item_loader import ParquetLoader

corpus = StreamingDataset(CORPUS + "/{folder}", item_loader=ParquetLoader())
```"""

_LITDATA_TOKENS = """```python
from litdata import StreamingDataset, TokensLoader

corpus = StreamingDataset(CORPUS + "/{folder}", item_loader=TokensLoader(block_size=2048))
```"""

_MEGATRON = """Megatron: `--data-args-path CORPUS/mixture/megatron_blend.txt`, or each
`CORPUS/megatron/train-*` without its ending as a prefix of weight 1."""

_NANOTRON = """nanotron: `dataset_folder: [CORPUS/{folder}]` with `dataset_weights: [1]`."""

_FORMATS = [
    ("arrow", "Arrow", _ARROW),
    ("parquet", "Parquet", _PARQUET),
    ("jsonl", "JSON lines", _JSONL),
    ("webdataset", "WebDataset", _WEBDATASET),
    ("mds", "MosaicML Streaming", _MDS),
    ("litdata", "LitData", _LITDATA),
    ("litdata_tokens", "LitData, tokens", _LITDATA_TOKENS),
    ("megatron", "Megatron-LM", _MEGATRON),
    ("nanotron", "nanotron", _NANOTRON),
]


def loading(manifest: dict[str, Any]) -> str:
    """A section with the formats of a corpus; ``CORPUS`` in it is the folder of the card."""
    parts = ["## How to load it", "`CORPUS` is the path of this folder."]
    for name, title, text in _FORMATS:
        paths = [
            shard["path"]
            for shard in manifest["shards"]
            if shard["format"] == name and shard["split"] == "train"
        ]
        if paths:
            parts += [f"### {title}", _filled(text, paths)]
    return "\n\n".join(parts)


def _filled(text: str, paths: list[str]) -> str:
    folder = posixpath.dirname(paths[0])
    return (
        text.replace("{{", "{")
        .replace("}}", "}")
        .replace("{folder}", folder)
        .replace("{last:06d}", f"{len(paths) - 1:06d}")
    )
