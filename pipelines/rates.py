"""Rates by a table: the file of devices, and the operations that a model needs per token."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from safetensors import SafetensorError, safe_open

from mixcurate.errors import InputError, RecipeError, nearest
from mixcurate.kernels.estimate import (
    DeviceParams,
    Interval,
    ModelFlops,
    RatesParams,
    SpeedParams,
    transformer_flops,
)
from mixcurate.models.encoders import EncoderSpec
from mixcurate.models.model_folder import find_model, read_folder
from mixcurate.recipe_messages import dotted, short, show
from mixcurate.recipe_yaml import Loader, read_text, syntax

_PROBE = "leave out --rates, and a probe on this machine measures it"

#: What architectures call their number of layers and the width of their hidden state.
_LAYERS = ("num_hidden_layers", "num_layers", "n_layers", "n_layer")
_WIDTH = ("hidden_size", "d_model", "dim", "n_embd")


def read_rates(path: str) -> RatesParams:
    """The checked table in the YAML file ``path``.

    Raises:
        InputError: it cannot be read, is no YAML, or lacks keys; every problem has a line.
    """
    try:
        text = read_text(path)
    except RecipeError as error:
        raise InputError(f"--rates {error}") from error
    try:
        value: Any = Loader(text).get_single_data()
    except (yaml.YAMLError, ValueError, LookupError, RecursionError) as error:
        place, reason = syntax(error, text)
        raise InputError(f"--rates {path}{place}: {reason}") from error
    try:
        return RatesParams.model_validate(value)
    except ValidationError as error:
        lines = [f"--rates {path}: {_problem(e)}" for e in error.errors(include_url=False)]
        raise InputError("\n".join(lines)) from error


def _problem(error: ErrorDetails) -> str:
    """Key, what is wrong with it, and what to do."""
    path = tuple(part for part in error["loc"] if part != "[key]")
    key = dotted(path) or "the file"
    if error["type"] == "missing":
        return f"{key}: missing; add it, as in configs/rates.yaml"
    if error["type"] == "extra_forbidden":
        return f"{key}: unknown key; remove it"
    if error["type"] == "model_type":
        return f"{key}: must be a mapping, as in configs/rates.yaml, got {show(error['input'])}"
    if error["type"] == "value_error":
        return f"{key}: {error['msg'].removeprefix('Value error, ')}"
    wanted = short(error["msg"].replace("Input should", "must"))
    return f"{key}: {wanted}, got {show(error['input'])}; set it as in configs/rates.yaml"


@dataclasses.dataclass(frozen=True)
class Speed:
    """How fast a device reads with one model.

    Attributes:
        name: the device and the file, for people.
        tflops: what the table says of the device.
        flops: what the model needs.
    """

    name: str
    tflops: SpeedParams
    flops: ModelFlops

    def rate(self, lengths: npt.NDArray[np.int64]) -> Interval:
        """Tokens a second on sequences of such lengths ``[m]``."""
        tokens = 1e12 / self.flops.mean_per_token(lengths)
        return Interval(self.tflops.typical, self.tflops.low, self.tflops.high).times(tokens)


@dataclasses.dataclass(frozen=True)
class TableRow:
    """A device of a table of rates."""

    file: str
    name: str
    device: DeviceParams

    def speed(self, spec: EncoderSpec) -> Speed:
        """The speed of the device with a model as it would run there.

        Raises:
            InputError: the model does not go with the device, or the table has no such precision.
        """
        if spec.backend == "static":
            raise InputError(
                f"--rates: {spec.name} is a static model: it looks vectors up and adds them, so "
                f"no rate of operations tells its speed; {_PROBE}"
            )
        if spec.device != self.device.kind:
            raise InputError(
                f"--device: {self.name} is a {self.device.kind} device in {self.file}, but "
                f"embed.device is {spec.device}; change one, as by --set embed.device=auto"
            )
        speeds = {str(precision): speed for precision, speed in self.device.tflops.items()}
        if spec.precision not in speeds:
            raise InputError(
                f"--rates {self.file}: devices.{self.name}.tflops has no {spec.precision}, in "
                f"which the model would run; add it, or set embed.precision to "
                f"{' or '.join(speeds)}"
            )
        speed = speeds[spec.precision]
        name = f"{self.name} in {self.file}" + " (not measured)" * (not speed.measured)
        return Speed(name, speed, model_flops(spec))


def read_row(path: str, device: str | None) -> TableRow:
    """One device of the table in the file ``path``.

    Raises:
        InputError: the file is no such table, no device was asked for, or it is not there.
    """
    rates = read_rates(path)
    if device is None:
        raise InputError(f"--rates needs --device; {path} has {', '.join(sorted(rates.devices))}")
    if device not in rates.devices:
        raise InputError(f"--device: {path} has no {device!r}; {nearest(device, rates.devices)}")
    return TableRow(path, device, rates.devices[device])


def model_flops(spec: EncoderSpec) -> ModelFlops:
    """Operations per token of a transformer, from its config and the shapes of its weights.

    Matrices count that belong to a numbered layer, so embeddings and heads do not: whatever the
    architecture, gated or with fewer keys than queries, its own shapes say what is multiplied.

    Raises:
        InputError: config or weights do not tell.
    """
    path, _ = find_model(spec.model, spec.revision)
    home = Path(path) / read_folder(path).first_module
    try:
        config = orjson.loads((home / "config.json").read_bytes())
        weights = _layer_weights(home)
    except (OSError, orjson.JSONDecodeError, SafetensorError) as error:
        raise InputError(f"--rates: cannot read {home}: {error}; {_PROBE}") from error
    layers, width = _first(config, _LAYERS), _first(config, _WIDTH)
    if not (weights and layers and width):
        raise InputError(
            f"--rates: config.json and *.safetensors in {home} do not tell the operations per "
            f"token of {spec.name}; {_PROBE}"
        )
    # ALBERT stores the weights that its layers share once
    shared = layers // config["num_hidden_groups"] if config.get("num_hidden_groups") else 1
    return transformer_flops(layer_weights=weights * shared, layers=layers, width=width)


def _layer_weights(home: Path) -> int:
    """Parameters in the matrices of all layers; the file's header is enough."""
    total = 0
    for found in sorted(home.glob("model*.safetensors")):
        with safe_open(found, "numpy") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - the file is no mapping
                shape = tensors.get_slice(name).get_shape()
                if len(shape) == 2 and re.search(r"(^|\.)\d+\.", name):
                    total += shape[0] * shape[1]
    return total


def _first(config: dict[str, Any], names: tuple[str, ...]) -> int:
    found = (config[name] for name in names if isinstance(config.get(name), int))
    return next(found, 0)
