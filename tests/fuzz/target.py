"""One fuzz target, run as ``python -m tests.fuzz.target NAME FOLDER [libFuzzer's arguments]``.

``FOLDER`` is for the file that is read; a file among the arguments is replayed.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path

import atheris

#: What coverage is measured of; native libraries would have to be built for it.
INSTRUMENTED = ["mixcurate.io", "mixcurate.models"]


#: MiB that one input of a few KB may take: zstd and bz2 blow up a block to some 50.
MAX_GROWTH = 200


def target(name: str, folder: Path) -> Callable[[bytes], None]:
    """What is to be called with each input."""
    with atheris.instrument_imports(include=INSTRUMENTED):
        if name == "html":
            from tests.fuzz.pages import check_page as checked
        elif name in ("warc", "wet"):
            from tests.fuzz.warcs import check_warc as checked
        else:
            from tests.fuzz.properties import check as checked

    def measured(data: bytes) -> None:
        before = _peak()
        checked(name, data, folder)
        growth = _peak() - before
        assert growth < MAX_GROWTH, f"{len(data):,} bytes took {growth:,} MiB"

    return measured


def _peak() -> int:
    """The most memory that the process has had so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def main() -> None:
    name, folder, *arguments = sys.argv[1:]
    os.makedirs(folder, exist_ok=True)
    atheris.Setup([sys.argv[0], *arguments], target(name, Path(folder)))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
