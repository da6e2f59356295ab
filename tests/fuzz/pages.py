"""What must hold for any bytes that are taken for a web page, with the real extractor."""

from __future__ import annotations

from pathlib import Path

from mixcurate.io.readers import InputParams, ReadTask, read
from mixcurate.models.extract import main_text
from tests.fuzz.properties import CHOICES
from tests.fuzz.seeds import response

_CHARSETS = ["utf-8", "latin-1", "utf-16", "unicode_escape", "utf-7", "idna", "hz", "x", ""]


def check_page(name: str, data: bytes, folder: Path) -> None:
    """A page in a WARC gives its document or its rejection, and nothing else."""
    body, choices = data[:-CHOICES], data[-CHOICES:].rjust(CHOICES, b"\0")
    charset = _CHARSETS[choices[0] % len(_CHARSETS)]
    path = folder / "a.warc"
    path.write_bytes(response(body, charset=charset))
    task = ReadTask(0, str(path), "x", "warc", 0, None, path.stat().st_size, "")
    batches = list(read(task, InputParams(path="unused"), extract=main_text))
    for batch in batches:
        batch.documents.validate(full=True)
    texts = [text for batch in batches for text in batch.documents.column("text").to_pylist()]
    reasons = [rejection.reason for batch in batches for rejection in batch.rejected]
    assert len(texts) + len(reasons) == 1
    assert all(texts)
    assert set(reasons) <= {"no_main_text", "extraction_failed", "too_large"}
