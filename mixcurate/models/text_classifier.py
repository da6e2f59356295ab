"""From what a recipe asks of a classifier to a model that is loaded."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import os
import time
from collections.abc import Iterator
from pathlib import Path

from mixcurate.errors import InputError, MissingExtra, nearest
from mixcurate.models.model_folder import content_hash, find_model
from mixcurate.models.resolve import sees_gpu
from mixcurate.models.text_classifiers import (
    ClassifierSpec,
    Outputs,
    TextClassifier,
    choose,
    numbers_of,
    place,
)
from mixcurate.params import ClassifierParams

FASTTEXT = ("fastText (a classifier of kind fasttext)", "pip install 'mixcurate[fasttext]'")

_FASTTEXT_FILES = (".bin", ".ftz")


def resolve(params: ClassifierParams, *, elsewhere: str | None = None) -> ClassifierSpec:
    """Settle everything that ``params`` leaves open, and read the weights to name them.

    Args:
        params: with a folder or file as an absolute path.
        elsewhere: None when this machine classifies; else the device of the machines that do, of
            which nothing more is known: cuda or cpu.

    Raises:
        InputError: the model cannot be found or read, or does not go with label, range or device.
        MissingExtra: fastText is not installed.
    """
    spec = check(params, elsewhere=elsewhere)
    path, _ = _find(spec.name, spec.model, spec.revision)
    if spec.kind == "fasttext":
        from mixcurate.models.fasttext_file import file_hash

        return dataclasses.replace(spec, weights=file_hash(_lone_file(spec.name, path)))
    return dataclasses.replace(spec, weights=content_hash(path))


def check(params: ClassifierParams, *, elsewhere: str | None = None) -> ClassifierSpec:
    """What ``resolve`` finds wrong, without reading the weights; a spec that does not name them.

    Raises:
        InputError: as ``resolve``.
        MissingExtra: as ``resolve``.
    """
    path, revision = _find(params.name, params.model, params.revision)
    kind = _kind(params, path)
    device = "cpu"
    if kind == "transformers":
        device = _device(params, elsewhere)
        outputs = _transformers_outputs(params, path)
    else:
        if params.device == "cuda":
            raise InputError(f"{place(params.name)}: device: fastText runs on a CPU, not on cuda")
        if importlib.util.find_spec("fasttext") is None:
            raise MissingExtra(*FASTTEXT)
        outputs = _fasttext_outputs(params.name, path)
    output, label, least_and_most = choose(params, outputs)
    return ClassifierSpec(
        name=params.name,
        kind=kind,
        model=params.model,
        revision=revision,
        weights="",
        output=output,
        label=label,
        range=least_and_most,
        max_tokens=params.max_tokens,
        precision=_precision(device, elsewhere),
        device=device,
        batch_tokens=params.batch_tokens,
        trust_remote_code=params.trust_remote_code,
    )


def load(spec: ClassifierSpec, threads: int) -> TextClassifier:
    """Load a classifier.

    Args:
        spec: which one, and how.
        threads: CPU threads to use; 0 for as many as this machine has.

    Raises:
        InputError: it cannot be loaded, or gives values that are not finite.
    """
    started = time.perf_counter()
    path, _ = _find(spec.name, spec.model, spec.revision)
    threads = threads or os.cpu_count() or 1
    loaded: TextClassifier
    if spec.kind == "fasttext":
        from mixcurate.models.fasttext_classifier import FastTextClassifier

        loaded = FastTextClassifier(spec, _lone_file(spec.name, path), threads)
    else:
        from mixcurate.models.transformers_classifier import TransformersClassifier

        with told_of(spec.name):
            loaded = TransformersClassifier(spec, path, threads)
    loaded.load_seconds = time.perf_counter() - started
    return loaded


@contextlib.contextmanager
def told_of(name: str) -> Iterator[None]:
    """Errors of the modules that load encoders are told as those of a classifier."""
    try:
        yield
    except InputError as error:
        text = str(error)
        for key in ("model", "max_tokens"):
            text = text.replace(f"embed.{key}: ", f"{place(name)}: {key}: ")
        raise InputError(text) from error


def _transformers_outputs(params: ClassifierParams, path: str) -> Outputs:
    from mixcurate.models.transformers_classifier import read_outputs

    with told_of(params.name):
        return read_outputs(path, params.name, trust_remote_code=params.trust_remote_code)


def _fasttext_outputs(name: str, path: str) -> Outputs:
    from mixcurate.models.fasttext_file import read_labels

    labels = read_labels(_lone_file(name, path), place(name))
    return Outputs(labels, numbers_of(labels))


def _find(name: str, model: str, revision: str | None) -> tuple[str, str | None]:
    """Folder or file of a classifier on this machine, and for a hub model its commit.

    Raises:
        InputError: there is none.
    """
    if os.path.isfile(model):
        return model, None
    path = Path(model)
    like_a_path = path.is_absolute() or model.startswith(".")
    if path.suffix in _FASTTEXT_FILES and model.count("/") > 1 and not like_a_path:
        return _hub_file(name, model, revision)
    if not path.is_dir() and "://" not in model and (like_a_path or model.count("/") != 1):
        beside = [entry.name for entry in path.parent.glob("*")] if path.parent.is_dir() else []
        hint = nearest(path.name, beside[:1_000])
        raise InputError(
            f"{place(name)}: model: there is no file or folder {model!r} on this machine"
            + f"; {hint}" * hint.startswith("did")
            + " (on the hub: owner/model, or owner/model/file.bin)"
        )
    with told_of(name):
        return find_model(model, revision)


def _hub_file(name: str, model: str, revision: str | None) -> tuple[str, str]:
    """One file of a hub model that has several, and the model's commit."""
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    owner, repository, file = model.split("/", 2)
    try:
        path = huggingface_hub.hf_hub_download(f"{owner}/{repository}", file, revision=revision)
    except (OSError, ValueError, HfHubHTTPError, HFValidationError) as error:
        at = f" at revision {revision}" if revision else ""
        first = (str(error).strip() or repr(error)).splitlines()[0]
        raise InputError(
            f"{place(name)}: model: {model!r} is no file on this machine, and the model hub does "
            f"not give it{at}: {first}"
        ) from error
    return path, Path(path).parents[file.count("/")].name


def _kind(params: ClassifierParams, path: str) -> str:
    if os.path.isfile(path):
        if params.kind == "transformers":
            raise InputError(
                f"{place(params.name)}: model: {path} is a file; a model of transformers is a "
                f"folder with a config.json"
            )
        return "fasttext"
    if params.kind != "auto":
        return params.kind
    lone = not os.path.exists(os.path.join(path, "config.json")) and _fasttext_files(path)
    return "fasttext" if lone else "transformers"


def _lone_file(name: str, path: str) -> str:
    """The fastText file that a path is, or that a folder has."""
    if os.path.isfile(path):
        return path
    files = _fasttext_files(path)
    if len(files) != 1:
        found = ", ".join(file.name for file in files) or "none"
        raise InputError(
            f"{place(name)}: model: {path} should hold one fastText file (.bin or .ftz), but has "
            f"{found}; name the file itself"
        )
    return str(files[0])


def _fasttext_files(folder: str) -> list[Path]:
    return sorted(file for file in Path(folder).iterdir() if file.suffix in _FASTTEXT_FILES)


def _device(params: ClassifierParams, elsewhere: str | None) -> str:
    if params.device == "cuda" and elsewhere is None and not sees_gpu():
        raise InputError(
            f"{place(params.name)}: device: cuda, but torch sees no GPU; see mixcurate doctor"
        )
    if params.device != "auto":
        return params.device
    if elsewhere is not None:
        return elsewhere
    return "cuda" if sees_gpu() else "cpu"


def _precision(device: str, elsewhere: str | None) -> str:
    """As embed: fp32 on a CPU, on a GPU bf16 where it has that."""
    if device == "cpu":
        return "fp32"
    if elsewhere is not None:
        return "fp16"
    import torch

    return "bf16" if torch.cuda.get_device_capability()[0] >= 8 else "fp16"
