"""The corpus folder: who owns it, its manifest, and the files that readers expect beside shards."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import ByteSize, Field, PositiveInt

import mixcurate
from mixcurate.io import card, storage
from mixcurate.params import Params
from mixcurate.tables import CORPUS

MANIFEST = "manifest.json"
_OWNER = "_mixcurate/owner.json"

#: What is written beside the shards when they are all there.
_BESIDE = (
    MANIFEST,
    "README.md",
    "dataset_dict.json",
    "train/state.json",
    "train/dataset_info.json",
    "wds/sizes.json",
    "wds/index.json",
)
_SHARD = re.compile(r"train/data-\d+-of-\d+\.arrow|wds/train-\d+\.tar")


FormatName = Literal[
    "arrow",
    "parquet",
    "webdataset",
    "jsonl",
    "mds",
    "litdata",
    "megatron",
    "nanotron",
    "litdata_tokens",
]


class TokenParams(Params):
    """How documents become tokens, for the formats that hold tokens."""

    tokenizer: str | None = None
    """`embedded`, or a Hugging Face tokenizer.json relative to the recipe; null takes
    `ingest.tokenizer`."""
    bos: bool = False
    """Put the beginning-of-sequence token before each document."""
    eos: bool = True
    """Put the end-of-sequence token after each document."""
    sequence_length: PositiveInt | None = None
    """Pack the documents of a domain into sequences of this many tokens; null keeps a sequence for
    each document."""


class OutputParams(Params):
    """Where the corpus goes, in which formats, and how it is cut."""

    path: str | None = None
    """Folder of the corpus, relative to the recipe's folder; null is `corpus` in the workdir."""
    formats: list[FormatName] = Field(default=["arrow"], min_length=1)
    """Formats to write, all from one pass."""
    shard_bytes: ByteSize = ByteSize(256_000_000)
    """Text in a shard, at most."""
    shards_multiple_of: PositiveInt = 64
    """The number of shards is a multiple of this when the corpus is large enough."""
    tokens: TokenParams = TokenParams()
    """For `megatron`, `nanotron` and `litdata_tokens`."""


def owner(corpus: str) -> str | None:
    """Name of the recipe whose corpus the folder holds, or None."""
    path = storage.join(corpus, _OWNER)
    if not storage.exists(path):
        return None
    name: str = storage.read_json(path)["name"]
    return name


def claim(corpus: str, name: str) -> None:
    """Mark the folder as ours, and take back what an older run said about it."""
    storage.write_json(storage.join(corpus, _OWNER), {"name": name})
    for stale in _BESIDE:
        storage.remove(storage.join(corpus, stale))
    for folder in ("train", "wds", ""):
        storage.remove_temporaries(storage.join(corpus, folder))


def build_manifest(
    *,
    name: str,
    recipe_fingerprint: str,
    tokenizer: str,
    encoder: dict[str, Any],
    inputs: list[dict[str, Any]],
    plan: dict[str, Any],
    shards: list[dict[str, Any]],
) -> dict[str, Any]:
    """The manifest: what was asked for, what came out, and every file with its hash.

    Nothing in it depends on when, where or by how many workers the corpus was made.

    Args:
        name: name of the corpus.
        recipe_fingerprint: names what was asked for.
        tokenizer: what a token is.
        encoder: the model behind the domains, with the hash of its weights.
        inputs: path, size and etag of each input file.
        plan: content of ``plan.json``.
        shards: per shard, ``files`` and, by domain, source and licence, [copies, tokens, tokens
            of first copies].
    """
    totals = {by: _sum(shards, by) for by in ("domain", "source", "licence")}
    n_tokens = sum(numbers[1] for numbers in totals["domain"].values())
    domains = []
    for planned in plan["domains"]:
        copies, tokens, unique = totals["domain"].get(str(planned["domain"]), [0, 0, 0])
        domains.append(
            {key: planned[key] for key in ("domain", "domain_id", "name", "target_tokens")}
            | {
                "available_tokens": planned["available_tokens"],
                "target_share": planned["share"],
                "n_documents": copies,
                "achieved_tokens": tokens,
                "achieved_share": tokens / max(n_tokens, 1),
                "unique_tokens": unique,
                "epochs": tokens / max(planned["available_tokens"], 1),
            }
        )
    return {
        "manifest_version": 1,
        "name": name,
        "mixcurate_version": mixcurate.__version__,
        "recipe_fingerprint": recipe_fingerprint,
        "seed": plan["seed"],
        "strategy": plan["strategy"],
        "tokenizer": tokenizer,
        "encoder": encoder,
        "inputs": inputs,
        "budget_tokens": plan["budget_tokens"],
        "n_documents": sum(numbers[0] for numbers in totals["domain"].values()),
        "n_tokens": n_tokens,
        "domains": domains,
        "sources": _shares(totals["source"], n_tokens),
        "licences": _shares(totals["licence"], n_tokens),
        "largest_shard_deviation": _largest_deviation(shards, totals["domain"], n_tokens),
        "shards": [
            file
            | {
                "n_documents": sum(numbers[0] for numbers in shard["domain"].values()),
                "n_tokens": sum(numbers[1] for numbers in shard["domain"].values()),
                "tokens_by_domain": {
                    domain: numbers[1] for domain, numbers in sorted(shard["domain"].items())
                },
            }
            for shard in shards
            for file in shard["files"]
        ],
    }


def _sum(shards: list[dict[str, Any]], by: str) -> dict[str, list[int]]:
    totals: dict[str, list[int]] = {}
    for shard in shards:
        for key, numbers in shard[by].items():
            old = totals.get(key, [0, 0, 0])
            totals[key] = [a + b for a, b in zip(old, numbers, strict=True)]
    return dict(sorted(totals.items()))


def _shares(totals: dict[str, list[int]], n_tokens: int) -> list[dict[str, Any]]:
    return [
        {
            "name": key,
            "n_documents": copies,
            "achieved_tokens": tokens,
            "achieved_share": tokens / max(n_tokens, 1),
            "unique_tokens": unique,
            "epochs": tokens / max(unique, 1),
        }
        for key, (copies, tokens, unique) in totals.items()
    ]


def _largest_deviation(
    shards: list[dict[str, Any]], totals: dict[str, list[int]], n_tokens: int
) -> float:
    """Largest |share of a domain in a shard - its share in the corpus|."""
    largest = 0.0
    for shard in shards:
        tokens = sum(numbers[1] for numbers in shard["domain"].values())
        for domain, (_, total, _) in totals.items():
            mine = shard["domain"].get(domain, [0, 0, 0])[1]
            largest = max(largest, abs(mine / max(tokens, 1) - total / max(n_tokens, 1)))
    return largest


def share_errors(manifest: dict[str, Any]) -> list[str]:
    """Domains whose tokens fall short of their target; the draw ends within one document above."""
    return [
        f"domain {d['domain']} ({d['name']!r}) has {d['achieved_tokens']:,} tokens, "
        f"its target is {d['target_tokens']:,}"
        for d in manifest["domains"]
        if d["achieved_tokens"] < d["target_tokens"]
    ]


def finish_corpus(
    corpus: str, manifest: dict[str, Any], formats: list[str], languages: list[str]
) -> None:
    """Write everything that readers expect beside the shards; the manifest comes last."""
    _remove_strangers(corpus, manifest)
    if "arrow" in formats:
        _write_huggingface(corpus, manifest)
    if "webdataset" in formats:
        _write_webdataset(corpus, manifest)
    text = card.dataset_card(manifest, formats, languages)
    storage.write_bytes(storage.join(corpus, "README.md"), text.encode())
    storage.write_json(storage.join(corpus, MANIFEST), manifest)


def _remove_strangers(corpus: str, manifest: dict[str, Any]) -> None:
    """Remove shards of an older run, cut otherwise: readers that go by pattern would find them."""
    wanted = {shard["path"] for shard in manifest["shards"]}
    for folder in ("train", "wds"):
        for name in storage.list_names(storage.join(corpus, folder)):
            path = f"{folder}/{name}"
            if _SHARD.fullmatch(path) and path not in wanted:
                storage.remove(storage.join(corpus, path))


def _names(manifest: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [shard for shard in manifest["shards"] if shard["format"] == name]


def _write_huggingface(corpus: str, manifest: dict[str, Any]) -> None:
    """The layout of ``datasets.load_from_disk``: all keys that it requires."""
    files = [shard["path"].removeprefix("train/") for shard in _names(manifest, "arrow")]
    state = {
        "_data_files": [{"filename": name} for name in files],
        "_fingerprint": manifest["recipe_fingerprint"],
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": "train",
    }
    features = {field.name: {"dtype": str(field.type), "_type": "Value"} for field in CORPUS}
    features = {
        name: kind | {"dtype": {"float": "float32"}.get(kind["dtype"], kind["dtype"])}
        for name, kind in features.items()
    }
    storage.write_json(storage.join(corpus, "train/state.json"), state)
    storage.write_json(storage.join(corpus, "train/dataset_info.json"), {"features": features})
    storage.write_json(storage.join(corpus, "dataset_dict.json"), {"splits": ["train"]})


def _write_webdataset(corpus: str, manifest: dict[str, Any]) -> None:
    """``sizes.json`` (samples per tar) and the ``wids`` index."""
    tars = [(shard["path"].removeprefix("wds/"), shard) for shard in _names(manifest, "webdataset")]
    sizes = {name: shard["n_documents"] for name, shard in tars}
    index = {
        "wids_version": 1,
        "name": manifest["name"],
        "shardlist": [
            {"url": name, "nsamples": shard["n_documents"], "filesize": shard["bytes"]}
            for name, shard in tars
        ],
    }
    storage.write_json(storage.join(corpus, "wds/sizes.json"), sizes)
    storage.write_json(storage.join(corpus, "wds/index.json"), index)
