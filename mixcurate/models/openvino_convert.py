"""A sentence-transformers model to OpenVINO's format, once, in a process of its own.

That process imports torch; the one that embeds does not. The network and what follows it (pooling,
dense layers, normalisation) become two graphs, so that the network may run in reduced precision
while the pooling stays in fp32. int8 is post-training quantisation (NNCF) with a smoothing of 0.8
between activations and weights [SmoothQuant, Xiao et al. 2023, eq. 4], which measured closest to
fp32, calibrated on the language reference that Python carries.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from mixcurate.errors import InputError, MixcurateError
from mixcurate.models.encoders import EncoderSpec
from mixcurate.models.model_folder import find_model

NETWORK, HEAD, TOKENIZER, FACTS = "network.xml", "head.xml", "tokenizer.json", "facts.json"

#: Of the conversion itself: a change of it makes new graphs.
_VERSION = "1"

#: Least cosine between the converted model and the original on the texts below.
_LEAST_COSINE = 0.9999

_CHECKS = [
    "A short sentence about rivers.",
    "Prices rose by 3.5 % in the second quarter; economists had expected less. " * 4,
    "def f(x):\n    return x * 2\n",
    "one",
]

_SMOOTHING = 0.8
_CALIBRATION_TEXTS = 100


def quiet_openvino() -> Any:
    """The openvino module. It and NNCF report their use to their makers, on import even, unless the
    module that does so is absent."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


def converted(spec: EncoderSpec) -> Path:
    """Folder of the model in OpenVINO's format; converted first if the cache has none.

    The cache is ``mixcurate/openvino`` in ``$XDG_CACHE_HOME`` or ``~/.cache``; fp32 and bf16 share
    a graph, int8 has its own.

    Raises:
        InputError: it cannot be found or converted, or gives other vectors afterwards.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mixcurate/openvino"
    kind = "int8" if spec.precision == "int8" else "float"
    target = cache / f"{kind}-{_mark(spec.weights, kind)}"
    if not _is_whole(target):
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as temporary:
            ready = Path(temporary) / "ready"
            ready.mkdir()
            folder, _ = find_model(spec.model, spec.revision)
            _in_own_process(spec.name, folder, kind, ready)
            try:
                ready.rename(target)
            except OSError:  # another process was first
                if not _is_whole(target):
                    shutil.rmtree(target, ignore_errors=True)
                    ready.rename(target)
    return target


def _is_whole(target: Path) -> bool:
    names = [NETWORK, HEAD, TOKENIZER, FACTS]
    names += [graph.replace(".xml", ".bin") for graph in (NETWORK, HEAD)]
    return all((target / name).exists() for name in names)


def _mark(weights: str, kind: str) -> str:
    """Changes with the weights and with every package that has a say in the graph."""
    packages = ["openvino", "torch", "transformers", "sentence-transformers"]
    words = [_VERSION, weights, *(metadata.version(name) for name in packages)]
    if kind == "int8":
        words += [metadata.version("nncf"), sys.version, str(_SMOOTHING)]
    return xxhash.xxh3_128_hexdigest(" ".join(words).encode())


def _in_own_process(model: str, folder: str, kind: str, target: Path) -> None:
    command = [sys.executable, "-m", "mixcurate.models.openvino_convert", folder, kind, str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise InputError(
            f"embed.model: cannot convert {model!r} to OpenVINO: {last}\n"
            f"use embed.backend: torch for it"
        )


def _convert(folder: str, kind: str, target: Path) -> None:
    """Convert, check against the original, quantise if asked for, and write; facts come last."""
    openvino = quiet_openvino()
    from mixcurate.models.torch_backend import load_model, text_tokenizer

    model = load_model(EncoderSpec(folder, None, "", "torch", "fp32", "cpu", 1 << 30), folder)
    network, head = _graphs(model)
    tokenizer = model.tokenizer
    facts = {
        "max_tokens": model.max_seq_length,
        "prompt": model.prompts.get(model.default_prompt_name or "", ""),
        "dimension": int(model.get_embedding_dimension()),
        "normalises": any(type(module).__name__ == "Normalize" for module in model),
        "truncation_side": tokenizer.truncation_side,
    }
    spec = EncoderSpec(folder, None, "", "torch", "fp32", "cpu", model.max_seq_length or 512)
    fast = text_tokenizer(model, spec)
    _check(model, network, head, fast)
    if kind == "int8":
        network = _quantised(network, fast)
    (target / TOKENIZER).write_text(tokenizer.backend_tokenizer.to_str())
    openvino.save_model(network, str(target / NETWORK), compress_to_fp16=False)
    openvino.save_model(head, str(target / HEAD), compress_to_fp16=False)
    (target / FACTS).write_text(json.dumps(facts))


def _graphs(model: Any) -> tuple[Any, Any]:
    """The network and what follows it, as two OpenVINO graphs."""
    import torch

    openvino = quiet_openvino()

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model[0]

        def forward(self, ids: Any, mask: Any) -> Any:
            return self.inner({"input_ids": ids, "attention_mask": mask})["token_embeddings"]

    class Head(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = torch.nn.ModuleList(list(model)[1:])

        def forward(self, hidden: Any, mask: Any) -> Any:
            features = {"token_embeddings": hidden, "attention_mask": mask}
            for module in self.inner:
                features = module(features)
            return features["sentence_embedding"]

    ids = torch.ones(1, 16, dtype=torch.long)
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # tracing warns of every shape that it fixes
        hidden = Network()(ids, ids)
        network = openvino.convert_model(Network(), example_input=(ids, ids))
        head = openvino.convert_model(Head(), example_input=(hidden, ids))
    return network, head


def _check(model: Any, network: Any, head: Any, tokenizer: Any) -> None:
    """Compare with the original, so that a graph that a length was frozen into is noticed."""
    openvino = quiet_openvino()
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    run, finish = (openvino.compile_model(graph, "CPU", options) for graph in (network, head))
    expected = model.encode(_CHECKS)
    sequences = tokenizer.tokenize(_CHECKS)
    for row, wanted in enumerate(expected):
        ids = sequences.sequence(row)[None].astype(np.int64)
        mask = np.ones_like(ids)
        found = finish([run([ids, mask])[0], mask])[0][0]
        cosine = float(found @ wanted / (np.linalg.norm(found) * np.linalg.norm(wanted)))
        if not cosine >= _LEAST_COSINE:
            raise InputError(f"the converted model differs: cosine {cosine:.5f}")


def _quantised(network: Any, tokenizer: Any) -> Any:
    import logging
    from pydoc_data.topics import topics

    import nncf
    from nncf.quantization.advanced_parameters import (
        AdvancedQuantizationParameters,
        AdvancedSmoothQuantParameters,
    )

    nncf.set_log_level(logging.ERROR)
    texts = [topics[name] for name in sorted(topics)][:_CALIBRATION_TEXTS]
    sequences = tokenizer.tokenize(texts)
    rows = [sequences.sequence(i)[None].astype(np.int64) for i in range(len(texts))]
    return nncf.quantize(
        network,
        nncf.Dataset(rows, lambda ids: [ids, np.ones_like(ids)]),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(rows),
        advanced_parameters=AdvancedQuantizationParameters(
            disable_bias_correction=True,
            smooth_quant_alphas=AdvancedSmoothQuantParameters(matmul=_SMOOTHING),
        ),
    )


def main() -> None:
    """Convert ``FOLDER`` to ``KIND`` in ``TARGET``; the last line of stderr says what failed."""
    folder, kind, target = sys.argv[1:]
    try:
        _convert(folder, kind, Path(target))
    except MixcurateError as error:
        sys.exit(" ".join(str(error).split()))


if __name__ == "__main__":
    main()
