"""A model's folder: where it is, what it is made of, and what names its content."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from pathlib import Path
from typing import Any

import orjson

from mixcurate.errors import InputError
from mixcurate.models.embedded import encoder_folder

#: What a model's vectors depend on; read-me files and training statistics may change freely.
_CONTENT = (".json", ".txt", ".safetensors", ".bin", ".model", ".py")
_WEIGHTS = (".safetensors", ".bin")
_NOT_CONTENT = ("data_config.json", "train_script.py", "config_sentence_transformers.json")


@dataclasses.dataclass(frozen=True)
class ModelFolder:
    """A sentence-transformers model on this machine's disk.

    Attributes:
        path: the folder.
        modules: class names of its modules, in order; a bare transformer gets a mean pooling.
        first_module: folder of the first module, relative to ``path``.
        brings_code: whether some of its classes come with it, or from another model on the hub.
    """

    path: str
    modules: tuple[str, ...]
    first_module: str
    brings_code: bool

    @property
    def is_static(self) -> bool:
        """Whether it averages token vectors, without a network."""
        return self.modules[0] == "StaticEmbedding"


def find_model(model: str, revision: str | None) -> tuple[str, str | None]:
    """Folder of a model on this machine; a hub model is downloaded unless it is there.

    Args:
        model: ``embedded``, a folder, or a hub name.
        revision: branch, tag or commit of a hub model.

    Returns:
        The folder, and for a hub model the commit that it holds.

    Raises:
        InputError: there is no such folder, or the hub has no such model or cannot be reached.
    """
    if model == "embedded":
        return encoder_folder(), None
    if os.path.isdir(model):
        return model, None
    if "://" in model or model.startswith((".", "/")) or model.count("/") > 1:
        raise InputError(
            f"embed.model: there is no folder {model!r} on this machine; copy the model there (on "
            f"Dataflow: into the worker image)"
        )
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    name = model if "/" in model else f"sentence-transformers/{model}"
    try:
        folder = huggingface_hub.snapshot_download(
            name, revision=revision, ignore_patterns=["*.onnx", "*.h5", "*.msgpack", "openvino/*"]
        )
    except (OSError, ValueError, HfHubHTTPError, HFValidationError) as error:
        at = f" at revision {revision}" if revision else ""
        first = (str(error).strip() or repr(error)).splitlines()[0]
        raise InputError(
            f"embed.model: {model!r} is no folder, and the model hub does not give it{at}: {first}"
        ) from error
    return folder, os.path.basename(folder)


def read_folder(path: str) -> ModelFolder:
    """What a model folder is made of.

    Raises:
        InputError: a file that every model has is missing or broken; the message names it.
    """
    root = Path(path)
    modules = ("Transformer", "Pooling")
    first = ""
    own_code = any(found.name not in _NOT_CONTENT for found in root.rglob("*.py"))
    if (root / "modules.json").exists():
        listed = _read_json(root / "modules.json")
        try:
            ordered = sorted(listed, key=lambda module: module["idx"])
            types = [module["type"] for module in ordered]
            modules = tuple(name.rsplit(".", 1)[-1] for name in types)
            paths = [Path(module["path"]) for module in ordered]
            first = ordered[0]["path"]
        except (AttributeError, TypeError, KeyError, IndexError) as error:
            raise InputError(f"embed.model: {root / 'modules.json'} lists no modules") from error
        if any(path.is_absolute() or ".." in path.parts for path in paths):
            raise InputError(f"embed.model: {root / 'modules.json'} points out of its folder")
        own_code |= any(not name.startswith("sentence_transformers.") for name in types)
    elif (root / "config.json").exists():
        if _read_object(root / "config.json").get("model_type") == "model2vec":
            modules = ("StaticEmbedding", "Normalize")
    else:
        raise InputError(
            f"embed.model: {path} is no model: it has neither modules.json nor config.json"
        )
    home = root / first
    if not any(found.suffix in _WEIGHTS for found in home.glob("*")):
        raise InputError(f"embed.model: {home} has no weights (*.safetensors or *.bin)")
    if modules[0] == "Transformer":
        own_code |= "auto_map" in _read_object(home / "config.json")
    return ModelFolder(path, modules, first, own_code)


def content_hash(path: str) -> str:
    """sha256 over the names and sha256 of all files that a model's vectors depend on."""
    root = Path(path)
    total = hashlib.sha256()
    for found in sorted(root.rglob("*")):
        inner = found.relative_to(root)
        hidden = any(part.startswith(".") for part in inner.parts)
        if found.suffix not in _CONTENT or found.name in _NOT_CONTENT or hidden:
            continue
        if found.is_file():
            with found.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            total.update(f"{inner.as_posix()}\0{digest}\n".encode())
    total.update(default_prompt(path).encode())
    return total.hexdigest()


def default_prompt(folder: str) -> str:
    """What the model puts before every text, unless asked for something else."""
    path = Path(folder) / "config_sentence_transformers.json"
    settings = _read_object(path) if path.exists() else {}
    return str((settings.get("prompts") or {}).get(settings.get("default_prompt_name")) or "")


def _read_object(path: Path) -> dict[str, Any]:
    found = _read_json(path)
    if not isinstance(found, dict):
        raise InputError(f"embed.model: {path} holds no JSON object")
    return found


def _read_json(path: Path) -> Any:
    try:
        return orjson.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise InputError(f"embed.model: {path} is missing") from error
    except (OSError, orjson.JSONDecodeError) as error:
        raise InputError(f"embed.model: cannot read {path}: {error}") from error
