"""Real text for tests: the language reference that Python itself carries, cut into documents."""

from __future__ import annotations

import json
import re
from pathlib import Path
from pydoc_data.topics import topics


def real_documents(count: int) -> list[dict[str, str]]:
    """``count`` documents of some 60 to 250 words, each with a text, a URL and a title."""
    documents: list[dict[str, str]] = []
    for title in sorted(topics):
        paragraphs = re.split(r"\n\s*\n", topics[title])
        text = ""
        for paragraph in paragraphs:
            text += " ".join(paragraph.split()) + "\n"
            if len(text.split()) >= 60 + 10 * (len(documents) % 15):
                url = f"https://example.org/{title}/{len(documents)}"
                if not any(text == other["text"] for other in documents):
                    documents.append({"text": text, "url": url, "title": title})
                text = ""
            if len(documents) == count:
                return documents
    raise AssertionError(f"only {len(documents)} documents")


def write_jsonl(path: Path, documents: list[dict[str, str]]) -> Path:
    """Write documents as JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(document) + "\n" for document in documents))
    return path
