"""The dataset card: README.md with the YAML header that makes the folder a Hugging Face dataset."""

from __future__ import annotations

import html
import re
from typing import Any

import yaml

from mixcurate.io.card_loading import loading

_SIZES = [
    (10**3, "n<1K"),
    (10**4, "1K<n<10K"),
    (10**5, "10K<n<100K"),
    (10**6, "100K<n<1M"),
    (10**7, "1M<n<10M"),
    (10**8, "10M<n<100M"),
    (10**9, "100M<n<1B"),
    (10**10, "1B<n<10B"),
    (10**11, "10B<n<100B"),
    (10**12, "100B<n<1T"),
]

#: Formats that ``datasets.load_dataset`` reads, best first; it takes one format a folder.
_LOADABLE = ("arrow", "parquet", "jsonl", "webdataset")

#: Rows of a table before the rest is left to the manifest.
_ROWS = 200


def dataset_card(manifest: dict[str, Any]) -> str:
    """The card of a corpus, from its manifest alone."""
    text = yaml.safe_dump(_header(manifest), sort_keys=False, allow_unicode=True)
    sections = [
        f"---\n{text}---",
        f"# {manifest['name']}",
        _about(manifest),
        loading(manifest),
        _phases(manifest),
        _domains(manifest),
        _cells(manifest),
        _counted("Sources", manifest["sources"]),
        _licences(manifest["licences"]),
        _counted("Languages", manifest["languages"]),
        _notes(manifest),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _header(manifest: dict[str, Any]) -> dict[str, Any]:
    documents = manifest["n_documents"]
    licences = sorted({entry.get("hub", "other") for entry in manifest["licences"]})
    languages = [e["name"] for e in manifest["languages"] if re.fullmatch("[a-z]{2,3}", e["name"])]
    header: dict[str, Any] = {
        "license": licences[0] if len(licences) == 1 else licences,
        "language": languages,
        "size_categories": [next((n for most, n in _SIZES if documents < most), "n>1T")],
        "task_categories": ["text-generation"],
    }
    written = {shard["format"] for shard in manifest["shards"]}
    name = next((name for name in _LOADABLE if name in written), None)
    return header | ({"configs": _configs(manifest, name)} if name else {})


def _configs(manifest: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """All of it, and each phase for itself. Domains are mixed in every shard and have none."""
    shards = [shard for shard in manifest["shards"] if shard["format"] == name]
    splits = list(dict.fromkeys(shard["split"] for shard in shards))
    files = [
        {"split": split, "path": _pattern(next(s["path"] for s in shards if s["split"] == split))}
        for split in splits
    ]
    configs = [{"config_name": "default", "default": True, "data_files": files}]
    phases = dict.fromkeys(shard["phase"] for shard in shards if shard["split"] == "train")
    if len(phases) > 1:
        for phase in phases:
            paths = [shard["path"] for shard in shards if shard["phase"] == phase]
            part = [{"split": "train", "path": paths}]
            configs.append({"config_name": phase, "data_files": part})
    return configs


def _pattern(path: str) -> str:
    """``train/*.arrow`` for ``train/data-00000-of-00004.arrow``."""
    folder, _, file = path.rpartition("/")
    stem, _, suffix = file.partition(".")
    split = re.match(r"train-|holdout-", stem)
    return f"{folder}/{split.group() if split else ''}*.{suffix}"


def _about(manifest: dict[str, Any]) -> str:
    by = ", ".join(manifest["mixture"]["by"])
    held_out = manifest["holdout"]
    lines = [
        f"{manifest['n_documents']:,} documents, {manifest['n_tokens']:,} tokens "
        f"(tokenizer: {manifest['tokenizer']}), budget {manifest['budget_tokens']:,}, strategy "
        f"`{manifest['strategy']}` by {by}, made by mixcurate {manifest['mixcurate_version']}.",
        "",
        "All shares are of tokens, and are those of the documents as they stand: read every shard "
        "with weight 1. Every shard of a phase has the phase's mixture, so that any part of the "
        "shards will do; no domain has a shard of its own.",
    ]
    if held_out:
        lines += [
            "",
            f"{held_out['n_documents']:,} documents ({held_out['n_tokens']:,} tokens) are held "
            f"out: they stand in the split `holdout`, and in no shard of `train`.",
        ]
    return "\n".join(lines)


def _phases(manifest: dict[str, Any]) -> str:
    phases = [one for one in manifest["ranges"] if one["split"] == "train"]
    if len(phases) < 2:
        return ""
    rows = [
        f"| {one['phase']} | {one['first_shard']} | {one['n_shards']} | {one['n_documents']:,} "
        f"| {one['n_tokens']:,} | {one['largest_shard_deviation']:.3%} |"
        for one in phases
    ]
    head = [
        "| phase | first shard | shards | documents | tokens | most that a shard differs |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    text = "They follow each other in the order of the shards; do not shuffle across them."
    return "\n".join(["## Phases", "", text, "", *head, *rows])


def _domains(manifest: dict[str, Any]) -> str:
    rows = [
        f"| {d['domain']} | {_cell(d['name'])} | {d['n_documents']:,} | {d['achieved_tokens']:,} "
        f"| {d['target_share']:.4%} | {d['achieved_share']:.4%} | {d['epochs']:.3f} |"
        for d in manifest["domains"]
    ]
    head = [
        "| domain | name | documents | tokens | target share | achieved share | epochs |",
        "|---:|---|---:|---:|---:|---:|---:|",
    ]
    return _table("Domains", head, rows)


def _cells(manifest: dict[str, Any]) -> str:
    """What the shares were asked of, where it is not the domains."""
    if manifest["mixture"]["by"] == ["domain"]:
        return ""
    rows = [
        f"| {_cell(c['name'])} | {c['n_documents']:,} | {c['achieved_tokens']:,} "
        f"| {c['target_share']:.4%} | {c['achieved_share']:.4%} | {c['epochs']:.3f} |"
        for c in manifest["cells"]
    ]
    head = [
        "| cell | documents | tokens | target share | achieved share | epochs |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    return _table("Mixture by " + ", ".join(manifest["mixture"]["by"]), head, rows)


def _counted(title: str, entries: list[dict[str, Any]]) -> str:
    rows = [
        f"| {_cell(e['name'])} | {e['n_documents']:,} | {e['achieved_tokens']:,} "
        f"| {e['achieved_share']:.4%} |"
        for e in entries
    ]
    return _table(title, ["| name | documents | tokens | share |", "|---|---:|---:|---:|"], rows)


def _licences(entries: list[dict[str, Any]]) -> str:
    rows = [
        f"| {_cell(e['name'])} | {_cell(e.get('spdx', ''))} | {e.get('class', '')} "
        f"| {e['n_documents']:,} | {e['achieved_tokens']:,} | {e['achieved_share']:.4%} |"
        for e in entries
    ]
    head = [
        "| as found | SPDX | class | documents | tokens | share |",
        "|---|---|---|---:|---:|---:|",
    ]
    return _table("Licences", head, rows)


def _table(title: str, head: list[str], rows: list[str]) -> str:
    if not rows:
        return ""
    rest = [f"\n{len(rows) - _ROWS:,} more are in `manifest.json`."] if len(rows) > _ROWS else []
    return "\n".join([f"## {title}", "", *head, *rows[:_ROWS], *rest])


def _notes(manifest: dict[str, Any]) -> str:
    notes = [f"- {_cell(note)}" for note in manifest["notes"]]
    return "\n".join(["## Notes", "", *notes]) if notes else ""


def _cell(text: str) -> str:
    """A name from the data as one cell of a table: no markup, no second cell, no new line."""
    return html.escape(" ".join(text.split()), quote=False).replace("|", "\\|")
