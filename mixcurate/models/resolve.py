"""From what a recipe asks to what is run: backend, precision and device, with the reason."""

from __future__ import annotations

import importlib.util
import os
import time
from importlib import metadata
from typing import NamedTuple

from mixcurate.errors import InputError, MissingExtra
from mixcurate.models.encoder import Encoder
from mixcurate.models.encoders import EmbedParams, EncoderSpec
from mixcurate.models.model_folder import ModelFolder, content_hash, find_model, read_folder

OPENVINO = ("OpenVINO (embed.backend: openvino)", "pip install 'mixcurate[openvino]'")
NNCF = ("NNCF (embed.precision: int8)", "pip install 'mixcurate[int8]'")

#: What each backend computes in, by device.
_PRECISIONS = {
    ("torch", "cpu"): ("fp32", "bf16"),
    ("torch", "cuda"): ("fp32", "bf16", "fp16"),
    ("openvino", "cpu"): ("fp32", "bf16", "int8"),
    ("static", "cpu"): ("fp32",),
}


def resolve(params: EmbedParams, *, elsewhere: str | None = None) -> EncoderSpec:
    """Settle everything that ``params`` leaves open.

    Args:
        params: with a folder as an absolute path.
        elsewhere: None when this machine embeds; else the device of the machines that do, of
            which nothing more is known: cuda or cpu.

    Raises:
        InputError: the model cannot be found, or does not go with backend, precision or device.
        MissingExtra: the backend that was asked for is not installed.
    """
    settled = _settle(params, elsewhere)
    return EncoderSpec(
        model=params.model,
        revision=settled.commit,
        weights=content_hash(settled.path),
        backend=settled.backend,
        precision=settled.precision,
        device=settled.device,
        max_tokens=params.max_tokens,
        long_documents=params.long_documents,
        max_windows=params.max_windows,
        batch_tokens=params.batch_tokens,
        trust_remote_code=params.trust_remote_code,
        reason=settled.reason,
    )


def check(params: EmbedParams, *, elsewhere: str | None = None) -> None:
    """What ``resolve`` finds wrong, without reading the weights.

    Raises:
        InputError: as ``resolve``.
        MissingExtra: as ``resolve``.
    """
    _settle(params, elsewhere)


class _Settled(NamedTuple):
    path: str
    commit: str | None
    device: str
    backend: str
    precision: str
    reason: str


def _settle(params: EmbedParams, elsewhere: str | None) -> _Settled:
    path, commit = find_model(params.model, params.revision)
    folder = read_folder(path)
    if folder.brings_code and params.backend == "openvino":
        raise InputError(f"embed.model: {params.model!r} brings its own code; use backend: torch")
    device, why_device = _device(params, elsewhere)
    backend, why = _backend(params, folder, device)
    if backend == "static":
        device = "cpu"
    precision, why_precision = _precision(params, backend, device, elsewhere)
    reasons = [word for word in (why, why_device, why_precision) if word]
    return _Settled(path, commit, device, backend, precision, "; ".join(reasons))


def load(spec: EncoderSpec, threads: int) -> Encoder:
    """Load a model, on every GPU of this machine if it runs on GPUs.

    Args:
        spec: which model, and how.
        threads: CPU threads to use.

    Raises:
        InputError: it cannot be loaded, or gives values that are not finite.
    """
    started = time.perf_counter()
    if spec.backend == "openvino":  # a converted model does not need the original
        from mixcurate.models.openvino_backend import OpenVinoBackend

        compiled = OpenVinoBackend(spec, threads)
        encoder = Encoder(spec, compiled.tokenizer, compiled)
    elif spec.backend == "static":
        from mixcurate.models.static_backend import StaticBackend

        static = StaticBackend(spec, read_folder(find_model(spec.model, spec.revision)[0]))
        encoder = Encoder(spec, static.tokenizer, static)
    else:
        encoder = _load_torch(spec, find_model(spec.model, spec.revision)[0], threads)
    encoder.load_seconds = time.perf_counter() - started
    return encoder


def _load_torch(spec: EncoderSpec, path: str, threads: int) -> Encoder:
    from mixcurate.models.torch_backend import TorchBackend

    if spec.device == "cuda":
        import torch

        count = torch.cuda.device_count()
        if count == 0:
            raise InputError("embed.device: cuda, but torch sees no GPU; see mixcurate doctor")
        if count > 1:
            from mixcurate.models.torch_devices import TorchDevices

            devices = TorchDevices(spec, path, [f"cuda:{i}" for i in range(count)])
            return Encoder(spec, devices.tokenizer, devices)
    device = "cuda:0" if spec.device == "cuda" else "cpu"
    torch_backend = TorchBackend(spec, path, threads, device)
    return Encoder(spec, torch_backend.tokenizer, torch_backend)


def _device(params: EmbedParams, elsewhere: str | None) -> tuple[str, str]:
    if params.device != "auto":
        return params.device, ""
    if elsewhere is not None:
        return elsewhere, "a GPU by embed.accelerator" if elsewhere == "cuda" else "no accelerator"
    if sees_gpu():
        return "cuda", "this machine has a GPU"
    return "cpu", "no GPU"


def sees_gpu() -> bool:
    """Whether torch can use a GPU here; torch is imported only if there may be one."""
    if not any(os.path.exists(path) for path in ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg")):
        return False
    if metadata.version("torch").endswith("+cpu"):
        return False
    import torch

    return bool(torch.cuda.is_available())


def _backend(params: EmbedParams, folder: ModelFolder, device: str) -> tuple[str, str]:
    asked = params.backend
    if folder.is_static or asked == "static":
        if not folder.is_static:
            kinds = ", ".join(folder.modules)
            raise InputError(
                f"embed.backend: static, but {params.model!r} is no static model (it has {kinds})"
            )
        if asked not in ("auto", "static"):
            raise InputError(f"embed.backend: {asked}, but {params.model!r} is a static model")
        return "static", "a static model" if asked == "auto" else ""
    installed = importlib.util.find_spec("openvino") is not None
    if asked == "openvino":
        if not installed:
            raise MissingExtra(*OPENVINO)
        if device != "cpu":
            raise InputError(f"embed.backend: openvino runs on the CPU, not on {device}")
        return asked, ""
    if asked == "torch" or device == "cuda":
        return "torch", ""
    if folder.brings_code or folder.modules[0] != "Transformer":
        return "torch", "the model brings code of its own"
    if not installed:
        return "torch", f"OpenVINO, which is faster on a CPU, is not installed: {OPENVINO[1]}"
    return "openvino", "fastest on a CPU"


def _precision(
    params: EmbedParams, backend: str, device: str, elsewhere: str | None
) -> tuple[str, str]:
    possible = _PRECISIONS[backend, device]
    asked = params.precision
    if asked != "auto":
        if asked not in possible:
            raise InputError(
                f"embed.precision: {asked} is not there with {backend} on {device}; "
                f"possible: {', '.join(possible)}"
            )
        if asked == "int8" and importlib.util.find_spec("nncf") is None:
            raise MissingExtra(*NNCF)
        return asked, ""
    if backend == "static":
        return "fp32", ""
    if device == "cuda":
        return _gpu_precision(elsewhere)
    if backend == "openvino" and elsewhere is None:
        from mixcurate.models.openvino_backend import has_bf16

        if has_bf16():
            return "bf16", "this processor has bf16"
        return "fp32", "this processor has no bf16"
    return "fp32", ""


def _gpu_precision(elsewhere: str | None) -> tuple[str, str]:
    if elsewhere is not None:
        return "fp16", "fp16, which every GPU has"
    import torch

    if torch.cuda.is_available() and torch.cuda.get_device_capability()[0] >= 8:
        return "bf16", "this GPU has bf16"
    return "fp16", "this GPU has no bf16"
