"""Files to paste into the settings of trainers: which shards there are, and with what weights.

The shards of a corpus already have its mixture, so that the weights are those that read each token
just once; what the domains' own weights were is for other tools (``olmix_priors.yaml``). A file is
written for the formats that the corpus has, in the shape that its reader wants.
"""

from __future__ import annotations

import re
from typing import Any

import orjson
import yaml

from mixcurate.io.shard_formats import megatron, nanotron
from mixcurate.io.shard_formats.base import entries

_FOLDER = "mixture"

#: What is taken as a step where a trainer's schedule goes by steps.
TOKENS_PER_STEP = 1 << 22

#: levanter mixes in blocks of this many sequences; a stage starts with a block.
_BLOCK = 2_048

_HERE = (
    "Paths are relative to the corpus: start the trainer there, or put the path or URL of the\n"
    "corpus before each of them."
)

_NUMBER = re.compile(r"(.*-)(\d+)(-of-\d+[^/]*)")


def blend_files(
    manifest: dict[str, Any], tokens_per_step: int = TOKENS_PER_STEP
) -> dict[str, bytes]:
    """The folder ``mixture/``.

    Args:
        manifest: of the finished corpus; ``token_files`` tells the type of tokens.
        tokens_per_step: tokens of a batch, for levanter's stages.

    Returns:
        Content by path in the corpus.
    """
    texts: dict[str, str] = {"olmix_priors.yaml": _olmix(manifest)}
    if manifest.get("token_files"):
        if entries(manifest, "megatron", "train"):
            texts |= _megatron(manifest)
        if entries(manifest, "nanotron", "train"):
            texts["nanotron.yaml"] = _nanotron(manifest)
        raw = next((f for f in ("nanotron", "megatron") if entries(manifest, f, "train")), None)
        if raw:
            texts["olmo_core.yaml"] = _olmo_core(manifest, raw)
    urls = next((f for f in ("jsonl", "parquet") if entries(manifest, f, "train")), None)
    if urls:
        texts["levanter.yaml"] = _levanter(manifest, urls, tokens_per_step)
    if entries(manifest, "mds", "train"):
        texts["mds_streams.yaml"] = _mds(manifest)
    if entries(manifest, "webdataset", "train"):
        texts["energon.yaml"] = _energon(manifest)
    return {f"{_FOLDER}/{name}": text.encode() for name, text in sorted(texts.items())}


def _phases(shards: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The shards of each phase, in order."""
    found: dict[str, list[dict[str, Any]]] = {}
    for shard in shards:
        found.setdefault(shard["phase"], []).append(shard)
    return found


def _yaml(comment: str, value: Any) -> str:
    lines = "".join(f"# {line}\n" for line in comment.strip().splitlines())
    text: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100)
    return lines + text


def _shares(counts: list[int]) -> list[float]:
    total = max(sum(counts), 1)
    return [count / total for count in counts]


def _prefix(entry: dict[str, Any]) -> str:
    path: str = entry["path"]
    return path.removesuffix(".bin")


def _weighted(manifest: dict[str, Any], shards: list[dict[str, Any]]) -> list[str]:
    """Megatron's list of weights and prefixes in turn; files without tokens are left out."""
    told = manifest["token_files"]
    totals = [megatron.shard_totals(entry, told)["tokens"] for entry in shards]
    pairs = [
        (f"{share:.12g}", _prefix(entry))
        for entry, share in zip(shards, _shares(totals), strict=True)
        if share
    ]
    return [word for pair in pairs for word in pair]


def _megatron(manifest: dict[str, Any]) -> dict[str, str]:
    """For ``--data-args-path``, ``--per-split-data-args-path``, ``--per-dataset-sequences-path``.

    Megatron reads the first as words, so that no comment can stand in it. Of several phases each
    has a blend of its own beside the one of all.
    """
    train, holdout = (entries(manifest, megatron.NAME, split) for split in ("train", "holdout"))
    blend = _weighted(manifest, train)
    splits = {"train": blend, "valid": _weighted(manifest, holdout) or None, "test": None}
    counts = {}
    for entry in train + holdout:
        n = megatron.shard_totals(entry, manifest["token_files"])["sequences"]
        counts[_prefix(entry)] = [n, n + 1]
    texts = {
        "megatron_blend.txt": _lines(blend),
        "megatron_per_split.json": _json(splits),
        "megatron_sequences.json": _json(counts),
    }
    phases = _phases(train)
    if len(phases) > 1:
        for phase, shards in phases.items():
            texts[f"megatron_blend_{phase}.txt"] = _lines(_weighted(manifest, shards))
    return texts


def _lines(words: list[str]) -> str:
    pairs = zip(words[::2], words[1::2], strict=True)
    return "".join(f"{weight} {prefix}\n" for weight, prefix in pairs)


def _json(value: Any) -> str:
    options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    return orjson.dumps(value, option=options).decode()


def _nanotron(manifest: dict[str, Any]) -> str:
    told = manifest["token_files"]
    size = nanotron.stored_type(told["vocabulary"]).itemsize
    comment = f"For data_stages[].data.dataset of nanotron; ids have {size} bytes.\n{_HERE}"
    if told["sequence_length"]:
        length = told["sequence_length"] - 1
        comment += f"\nWindows are the packed sequences with sequence_length {length}."
    if len(phases := _phases(entries(manifest, "nanotron", "train"))) > 1:
        comment += (
            f"\nFiles are in the order of the phases ({', '.join(phases)}): do not shuffle them."
        )
    return _yaml(comment, {"dataset_folder": ["nanotron/train"], "dataset_weights": [1.0]})


def _olmo_core(manifest: dict[str, Any], name: str) -> str:
    """Sources of OLMo-core, which reads raw ids without a header from any file."""
    told = manifest["token_files"]
    module = {"nanotron": nanotron, "megatron": megatron}[name]
    bits = 8 * module.stored_type(told["vocabulary"]).itemsize
    phases = _phases(entries(manifest, name, "train"))
    totals = [
        sum(module.shard_totals(entry, told)["tokens"] for entry in shards)
        for shards in phases.values()
    ]
    sources = [
        {
            "source_name": phase,
            "target_ratio": share,
            "paths": [entry["path"] for entry in shards],
            "max_repetition_ratio": 1.0,
            "max_source_fraction": 1.0,
        }
        for (phase, shards), share in zip(phases.items(), _shares(totals), strict=True)
        if share
    ]
    comment = (
        f"A SourceMixtureList of OLMo-core, for ids of type uint{bits}; requested_tokens can be "
        f"{sum(totals)} at most.\n{_HERE}"
    )
    if told["eos"] is None:
        comment += (
            "\nDocuments do not end with a token of their own: OLMo-core cannot tell them apart."
        )
    return _yaml(comment, {"sources": sources})


def _levanter(manifest: dict[str, Any], name: str, tokens_per_step: int) -> str:
    """``data`` of levanter: a component a phase; a weight of 0 is for evaluation only."""
    phases = _phases(entries(manifest, name, "train"))
    configs: dict[str, Any] = {
        phase: {"train_urls": [_braces(shards)]} for phase, shards in phases.items()
    }
    held_out = entries(manifest, name, "holdout")
    if held_out:
        configs["holdout"] = {"validation_urls": [_braces(held_out)]}
    nothing = dict.fromkeys(configs, 0.0)
    stages: list[Any] = []
    step, before = -1, 0
    for phase, shards in phases.items():
        step = max(step + 1, round(before / tokens_per_step))
        stages.append([step, nothing | {phase: 1.0}])
        before += sum(shard["n_tokens"] for shard in shards)
    comment = f"For levanter.\n{_HERE}"
    if len(stages) > 1:
        comment += (
            f"\nStages begin at steps of {tokens_per_step} tokens, as the manifest counts them; "
            f"levanter wants\na stage to begin with a block of {_BLOCK} sequences."
        )
    data = {
        "configs": configs,
        "train_weights": stages[0][1] if len(stages) == 1 else stages,
        "stop_strategy": "restart",
        "mixture_block_size": _BLOCK,
    }
    return _yaml(comment, {"data": data})


def _braces(shards: list[dict[str, Any]]) -> str:
    """One pattern ``{00000..00029}`` for shards that are numbered on."""
    first, last = (_NUMBER.fullmatch(shard["path"]) for shard in (shards[0], shards[-1]))
    if len(shards) == 1 or first is None or last is None:
        return str(shards[0]["path"])
    return f"{first[1]}{{{first[2]}..{last[2]}}}{first[3]}"


def _mds(manifest: dict[str, Any]) -> str:
    splits = [split for split in ("train", "holdout") if entries(manifest, "mds", split)]
    streams = {split: {"local": "mds", "split": split, "repeat": 1.0} for split in splits}
    comment = (
        f"Streams of MosaicML's StreamingDataset; on an object store also give remote.\n{_HERE}"
    )
    if "holdout" in splits:
        comment += "\nThe holdout is for evaluation: do not put both into one data set."
    return _yaml(comment, {"streams": streams})


def _energon(manifest: dict[str, Any]) -> str:
    splits: dict[str, Any] = {"train": {"blend": [{"weight": 1.0, "path": "../wds"}]}}
    if entries(manifest, "webdataset", "holdout"):
        splits["val"] = {"path": "../wds"}
    comment = (
        "A metadataset of Megatron Energon; the path is relative to this file. First run\n"
        "  energon prepare wds\n"
        "in the corpus, with train-*.tar as train and holdout-*.tar, if there are any, as val."
    )
    value = {"__module__": "megatron.energon", "__class__": "MetadatasetV2", "splits": splits}
    return _yaml(comment, value)


def _olmix(manifest: dict[str, Any]) -> str:
    """What there was of each domain before anything was drawn."""
    counts = {domain["name"]: domain["available_tokens"] for domain in manifest["domains"]}
    sizes = dict(zip(counts, _shares(list(counts.values())), strict=True))
    comment = "Priors of olmix: the domains of the pool that this corpus was drawn from."
    return _yaml(comment, {"priors": {"relative_sizes": sizes, "token_counts": counts}})
