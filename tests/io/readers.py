"""Readers of other projects, run in a process of their own: they bring packages that nothing else
here needs, and some start processes or leave shared memory behind.

They are installed by ``pip install --no-deps --target .readers -r .ci/readers.txt``. What they
import for clouds and images is stubbed, because none of it is used for text on a disk.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import orjson
import pytest

READERS = Path(__file__).parents[2] / ".readers"

_STUBBED = (
    *("azure", "boto3", "botocore", "google", "matplotlib", "obstore", "oci", "paramiko"),
    *("snappy", "tifffile", "torchvision", "zstd"),
)

_PRELUDE = f"""
import importlib.abc, importlib.machinery, json, sys, types

class Stub(types.ModuleType):
    __path__ = []
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (Exception,), {{}})

class Stubs(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in {_STUBBED!r}:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
    def create_module(self, spec):
        return Stub(spec.name)
    def exec_module(self, module):
        pass

sys.meta_path.insert(0, Stubs())
folder = sys.argv[1]

def plain(value):
    return value.tolist() if hasattr(value, "tolist") else str(value)

def emit(row):
    found.write(json.dumps(row, default=plain) + "\\n")
"""

#: Marks tests that need ``.readers``, and skips them without.
needs_readers = [
    pytest.mark.readers,
    pytest.mark.skipif(
        not READERS.is_dir(),
        reason="no .readers: pip install --no-deps --target .readers -r .ci/readers.txt",
    ),
]


def read_with(script: str, folder: str) -> list[dict[str, Any]]:
    """What ``script`` emits when it is run in a process that has the readers.

    Args:
        script: Python; it finds ``folder`` (str) and ``emit(row)``, which takes a dict of values
            that are plain or NumPy's.
        folder: what to read.
    """
    with tempfile.TemporaryDirectory() as scratch:
        main, out = Path(scratch, "main.py"), Path(scratch, "found.jsonl")
        body = f"with open(sys.argv[2], 'w') as found:\n{_indent(script)}"
        main.write_text(f"{_PRELUDE}\nif __name__ == '__main__':\n{_indent(body)}")
        env = os.environ | {
            "PYTHONPATH": str(READERS),
            "HOME": scratch,
            "TMPDIR": scratch,
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
        }
        command = [sys.executable, str(main), folder, str(out)]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-4000:]
        return [orjson.loads(line) for line in out.read_bytes().splitlines()]


def _indent(script: str) -> str:
    return "".join(f"    {line}\n" for line in script.strip().splitlines())
