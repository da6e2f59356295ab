"""Quality heads as one safetensors file: the layers, and what they are good for."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
from pydantic import TypeAdapter, ValidationError
from safetensors.numpy import load, save

from mixcurate.errors import InputError
from mixcurate.io import storage
from mixcurate.io.encoder_match import require_same_encoder
from mixcurate.params import DimensionName

Float32Array = npt.NDArray[np.float32]

#: Larger files are not read: a hidden layer of 1,024 units on 4,096 numbers takes 17 MB.
MAX_BYTES = 64 << 20

_KEY = "mixcurate"
_NAME: TypeAdapter[str] = TypeAdapter(DimensionName)


@dataclasses.dataclass(frozen=True)
class HeadFile:
    """Heads of quality dimensions; the arrays and ranges are those of ``kernels.heads.Head``.

    Attributes:
        dimensions: (name, least, most) of each, in the order of the outputs.
        layers: one or two (weight float32 ``[in, out]``, bias float32 ``[out]``).
        mean: float32 ``[d + s]``, taken from the unit vectors and the signals behind them.
        scale: float32 ``[d + s]``, that they are divided by.
        encoder: what made the vectors, as the manifest has it.
        trained_on: what it was fitted on and how: labels, digest, seed, penalty, hidden units.
        measured: what it was worth on documents that it was not fitted on.
        signals: names of ``s`` signals that the heads read; older files have none.
    """

    dimensions: tuple[tuple[str, float, float], ...]
    layers: tuple[tuple[Float32Array, Float32Array], ...]
    mean: Float32Array
    scale: Float32Array
    encoder: dict[str, Any]
    trained_on: dict[str, Any]
    measured: dict[str, Any]
    signals: tuple[str, ...] = ()

    def require_encoder(self, path: str, encoder: dict[str, Any]) -> None:
        """Check that vectors are of the model that the heads were fitted on.

        Args:
            path: of the file, for the message.
            encoder: what makes the vectors now, as the manifest has it.

        Raises:
            InputError: they are not; with what differs.
        """
        again = "fit a head on these vectors: mixcurate train-quality"
        require_same_encoder(path, self.encoder, encoder, again)


def write_head_file(path: str, file: HeadFile) -> None:
    """Write the file atomically; the same heads give the same bytes.

    Raises:
        InputError: its parts do not fit together, so that it could not be read back.
    """
    problem = _problem(file)
    if problem:
        raise InputError(f"{path}: the quality heads cannot be written: {problem}")
    tensors = {"mean": file.mean, "scale": file.scale}
    for number, (weight, bias) in enumerate(file.layers):
        tensors |= {f"weight_{number}": weight, f"bias_{number}": bias}
    about = {
        "dimensions": file.dimensions,
        "encoder": file.encoder,
        "measured": file.measured,
        "trained_on": file.trained_on,
    }
    if file.signals:
        about["signals"] = file.signals
    # one key: safetensors keeps several in no order
    metadata = {_KEY: orjson.dumps(about, option=orjson.OPT_SORT_KEYS).decode()}
    contiguous = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    storage.write_bytes(path, save(contiguous, metadata))


def read_head_file(path: str) -> HeadFile:
    """Read quality heads back.

    Raises:
        InputError: there are none, or the file is damaged or of another kind.
    """
    fix = "give a file that mixcurate train-quality wrote"
    try:
        if storage.size(path) > MAX_BYTES:
            raise ValueError(f"it is larger than {MAX_BYTES >> 20:,} MiB")
        file = _parse(storage.read_bytes(path))
        problem = _problem(file)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}; {fix}") from None
    except KeyError as error:
        problem = f"it has no {error}"
    except Exception as error:  # noqa: BLE001 - safetensors has an exception of its own
        problem = str(error)
    if problem:
        raise InputError(f"{path} is no file of quality heads: {problem}; {fix}")
    return file


def _parse(data: bytes) -> HeadFile:
    """The parts of a file: tensors, and our JSON inside of the header's."""
    tensors = load(data)
    length = int.from_bytes(data[:8], "little")
    about = orjson.loads(orjson.loads(data[8 : 8 + length])["__metadata__"][_KEY])
    layers = range((len(tensors) - 2) // 2)
    expected = {"mean", "scale"} | {f"{part}_{n}" for part in ("weight", "bias") for n in layers}
    if set(tensors) != expected:
        raise ValueError(f"its tensors are {', '.join(sorted(tensors)):.80}")
    return HeadFile(
        dimensions=tuple(
            (name, float(least), float(most)) for name, least, most in about["dimensions"]
        ),
        layers=tuple((tensors[f"weight_{number}"], tensors[f"bias_{number}"]) for number in layers),
        mean=tensors["mean"],
        scale=tensors["scale"],
        encoder=about["encoder"],
        trained_on=about["trained_on"],
        measured=about["measured"],
        signals=tuple(about.get("signals", ())),
    )


def _problem(file: HeadFile) -> str | None:
    """What does not fit together, or None."""
    arrays = [file.mean, file.scale, *(part for layer in file.layers for part in layer)]
    if any(part.dtype != np.float32 for part in arrays):
        return "a tensor is not of float32"
    if not all(np.isfinite(part).all() for part in arrays) or not (file.scale > 0).all():
        return "a weight is not finite, or a scale not positive"
    names = [name for name, _, _ in file.dimensions]
    if not names or len(set(names)) < len(names):
        return "it has no dimensions, or two of one name"
    for name in names:
        try:
            _NAME.validate_python(name, strict=True)
        except ValidationError:
            return f"{name!r:.80} is no name of a dimension (a-z, 0-9 and _, a letter first)"
    points = [most - least for _, least, most in file.dimensions]
    if not all(math.isfinite(p) and 1 <= p <= 100 and p == int(p) for p in points):
        return "the range of a dimension is not 1 to 100 whole points"
    width = len(file.mean) if file.mean.ndim == 1 else -1
    fits = file.scale.shape == (width,) and len(file.layers) in (1, 2)
    for weight, bias in file.layers:
        fits = fits and weight.shape == (width, bias.size) and bias.ndim == 1
        width = bias.size
    if not fits or width != sum(points):
        return "its tensors do not fit together"
    if not all(isinstance(name, str) for name in file.signals):
        return "a signal is no name"
    if len(set(file.signals)) < len(file.signals) or len(file.signals) >= len(file.mean):
        return "two of its signals have one name, or it has no numbers for the vector"
    if not all(isinstance(d, dict) for d in (file.encoder, file.trained_on, file.measured)):
        return "what it says of itself is damaged"
    return None
