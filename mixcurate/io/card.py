"""The dataset card: README.md with the YAML header that makes the folder a Hugging Face dataset."""

from __future__ import annotations

import html
from typing import Any

import yaml

_SIZES = [
    (10**3, "n<1K"),
    (10**4, "1K<n<10K"),
    (10**5, "10K<n<100K"),
    (10**6, "100K<n<1M"),
    (10**7, "1M<n<10M"),
    (10**8, "10M<n<100M"),
    (10**9, "100M<n<1B"),
]


def dataset_card(manifest: dict[str, Any], formats: list[str], languages: list[str]) -> str:
    """The card of a corpus, from its manifest."""
    documents = manifest["n_documents"]
    licences = [entry["name"] for entry in manifest["licences"]]
    pattern = "train/*.arrow" if "arrow" in formats else "wds/*.tar"
    header = {
        "license": licences[0].lower()
        if len(licences) == 1 and licences[0] != "unknown"
        else "other",
        "language": languages,
        "size_categories": [next((n for most, n in _SIZES if documents < most), "n>1B")],
        "task_categories": ["text-generation"],
        "configs": [
            {
                "config_name": "default",
                "default": True,
                "data_files": [{"split": "train", "path": pattern}],
            }
        ],
    }
    text = yaml.safe_dump(header, sort_keys=False, allow_unicode=True)
    lines = [
        f"---\n{text}---",
        "",
        f"# {manifest['name']}",
        "",
        f"{documents:,} documents, {manifest['n_tokens']:,} tokens "
        f"(tokenizer: {manifest['tokenizer']}), budget {manifest['budget_tokens']:,}, strategy "
        f"`{manifest['strategy']}`, made by mixcurate {manifest['mixcurate_version']}.",
        "",
        "## Domains",
        "",
        "| domain | name | documents | tokens | target share | achieved share | epochs |",
        "|---:|---|---:|---:|---:|---:|---:|",
        *(
            f"| {d['domain']} | {_cell(d['name'])} | {d['n_documents']:,} "
            f"| {d['achieved_tokens']:,} | {d['target_share']:.4%} "
            f"| {d['achieved_share']:.4%} | {d['epochs']:.3f} |"
            for d in manifest["domains"]
        ),
    ]
    for title, key in (("Sources", "sources"), ("Licences", "licences")):
        lines += [
            "",
            f"## {title}",
            "",
            "| name | documents | tokens | share |",
            "|---|---:|---:|---:|",
        ]
        lines += [
            f"| {_cell(e['name'])} | {e['n_documents']:,} | {e['achieved_tokens']:,} "
            f"| {e['achieved_share']:.4%} |"
            for e in manifest[key]
        ]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    """A name from the data as one cell of a table: no markup, no second cell, no new line."""
    return html.escape(" ".join(text.split()), quote=False).replace("|", "\\|")
