"""The classifier of domains as one safetensors file: weights, and what they are good for."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
from safetensors.numpy import load, save

from mixcurate.errors import InputError
from mixcurate.io import storage
from mixcurate.io.encoder_match import require_same_encoder

#: Larger files are not read: 100,000 domains of 2,560 numbers take as much.
MAX_BYTES = 1 << 30

_KEY = "mixcurate"


@dataclasses.dataclass(frozen=True)
class ClassifierFile:
    """A linear classifier of domains: softmax of ``unit vector @ weight + bias``.

    Attributes:
        weight: float32 ``[d, n]``.
        bias: float32 ``[n]``.
        domains: int32 ``[n]``, the number of each domain in ``domains.parquet``.
        domain_ids: of each domain.
        names: of each domain.
        encoder: what made the vectors, as the manifest has it.
        accuracy: share of held-out documents that are given their domain, or NaN.
        macro_f1: mean F1 of the domains on held-out documents, or NaN.
        n_train: documents that it was fitted on.
        n_held_out: documents that it was measured on.
    """

    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]
    domains: npt.NDArray[np.int32]
    domain_ids: tuple[str, ...]
    names: tuple[str, ...]
    encoder: dict[str, Any]
    accuracy: float
    macro_f1: float
    n_train: int
    n_held_out: int

    def require_encoder(self, path: str, encoder: dict[str, Any]) -> None:
        """Check that vectors are of the model that the classifier was fitted on.

        Args:
            path: of the file, for the message.
            encoder: what makes the vectors now, as the manifest has it.

        Raises:
            InputError: they are not; with what differs.
        """
        again = "fit the classifier again: mixcurate cluster RECIPE"
        require_same_encoder(path, self.encoder, encoder, again)


def write_classifier_file(path: str, file: ClassifierFile) -> None:
    """Write the file atomically; the same classifier gives the same bytes."""
    tensors = {"weight": file.weight, "bias": file.bias, "domains": file.domains}
    about = {name: value for name, value in _fields(file).items() if name not in tensors}
    # one key: safetensors keeps several in no order
    metadata = {_KEY: orjson.dumps(about, option=orjson.OPT_SORT_KEYS).decode()}
    contiguous = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    storage.write_bytes(path, save(contiguous, metadata))


def read_classifier_file(path: str) -> ClassifierFile:
    """Read a classifier back.

    Raises:
        InputError: there is none, or it is no such file.
    """
    try:
        if storage.size(path) > MAX_BYTES:
            raise ValueError(f"larger than {MAX_BYTES >> 20:,} MiB")
        data = storage.read_bytes(path)
        about = _metadata(data)
        file = ClassifierFile(**load(data), **about)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    except Exception as error:  # noqa: BLE001 - safetensors has an exception of its own
        raise InputError(f"{path} is no classifier of domains: {error}") from None
    n = len(file.domains)
    fits = file.weight.ndim == 2 and file.weight.shape[1] == n and file.bias.shape == (n,)
    if not (n and fits and len(file.names) == len(file.domain_ids) == n):
        raise InputError(f"{path} is no classifier of domains: its parts do not fit together")
    return file


def _metadata(data: bytes) -> dict[str, Any]:
    """What stands beside the weights: the header's length, its JSON, and ours inside of that."""
    length = int.from_bytes(data[:8], "little")
    header = orjson.loads(data[8 : 8 + length])
    about: dict[str, Any] = orjson.loads(header["__metadata__"][_KEY])
    for name in ("domain_ids", "names"):
        about[name] = tuple(about[name])
    for name in ("accuracy", "macro_f1"):  # JSON has no NaN
        about[name] = float("nan") if about[name] is None else float(about[name])
    return about


def _fields(file: ClassifierFile) -> dict[str, Any]:
    return {field.name: getattr(file, field.name) for field in dataclasses.fields(file)}
