from __future__ import annotations

import dataclasses
import importlib.util
import itertools
import json
from collections.abc import Callable

import pytest
from pydantic import ValidationError

from mixcurate.errors import InputError, MissingExtra
from mixcurate.models import openvino_backend, resolve
from mixcurate.models.encoders import EmbedParams, EncoderSpec
from tests.models.encoding import copied_model, needs_openvino, spec


@pytest.fixture
def machine(monkeypatch) -> Callable[..., None]:
    """Say what a machine has."""
    real = importlib.util.find_spec

    def has(*, gpu: bool = False, openvino: bool = True, nncf: bool = True, bf16: bool = False):
        here = {"openvino": openvino, "nncf": nncf}

        def find_spec(name: str, package: str | None = None) -> object:
            if name in here:
                return object() if here[name] else None
            return real(name, package)

        monkeypatch.setattr(importlib.util, "find_spec", find_spec)
        monkeypatch.setattr(resolve, "sees_gpu", lambda: gpu)
        monkeypatch.setattr(openvino_backend, "has_bf16", lambda: bf16)

    has()
    return has


@pytest.fixture
def static_model(tmp_path) -> str:
    model = copied_model(tmp_path / "static", weights=False)
    listed = [{"idx": 0, "path": "", "type": "sentence_transformers.models.StaticEmbedding"}]
    (model / "modules.json").write_text(json.dumps(listed))
    return str(model)


@pytest.fixture
def model_with_code(tmp_path) -> str:
    model = copied_model(tmp_path / "code", weights=False)
    (model / "modeling.py").touch()
    return str(model)


def settled(elsewhere: str | None = None, **params: object) -> EncoderSpec:
    return resolve.resolve(EmbedParams.model_validate(params), elsewhere=elsewhere)


def choice(found: EncoderSpec) -> tuple[str, str, str]:
    return found.backend, found.precision, found.device


@pytest.mark.parametrize(
    ("has", "elsewhere", "expected", "reason"),
    [
        ({}, None, ("openvino", "fp32", "cpu"), "fastest on a CPU; no GPU; this processor has no"),
        ({"bf16": True}, None, ("openvino", "bf16", "cpu"), "this processor has bf16"),
        ({"openvino": False}, None, ("torch", "fp32", "cpu"), "pip install 'mixcurate[openvino]'"),
        ({"gpu": True}, None, ("torch", "fp16", "cuda"), "this machine has a GPU"),
        ({"gpu": True, "openvino": False}, None, ("torch", "fp16", "cuda"), "has a GPU"),
        ({}, "cpu", ("openvino", "fp32", "cpu"), "fastest on a CPU; no accelerator"),
        ({"bf16": True}, "cpu", ("openvino", "fp32", "cpu"), "no accelerator"),
        ({"gpu": True}, "cpu", ("openvino", "fp32", "cpu"), "no accelerator"),
        ({"openvino": False}, "cpu", ("torch", "fp32", "cpu"), "is not installed"),
        ({}, "cuda", ("torch", "fp16", "cuda"), "embed.accelerator; fp16, which every GPU has"),
    ],
)
def test_what_auto_comes_to(machine, has, elsewhere, expected, reason):
    machine(**has)
    found = settled(elsewhere)
    if has.get("gpu") and elsewhere is None:
        expected = (expected[0], found.precision, expected[2])  # as the GPU of this machine has it
        assert found.precision in ("bf16", "fp16")
    assert choice(found) == expected
    assert reason in found.reason


def test_what_is_asked_for_is_done_without_a_reason(machine):
    machine(gpu=True, bf16=True)
    for backend, precision in [
        ("torch", "fp32"),
        ("torch", "bf16"),
        ("openvino", "fp32"),
        ("openvino", "bf16"),
        ("openvino", "int8"),
    ]:
        found = settled(backend=backend, precision=precision, device="cpu")
        assert choice(found) == (backend, precision, "cpu")
        assert found.reason == ""
    for precision in ("fp32", "bf16", "fp16"):
        assert choice(settled(precision=precision, device="cuda")) == ("torch", precision, "cuda")


POSSIBLE = {
    ("torch", "cpu"): "fp32, bf16",
    ("torch", "cuda"): "fp32, bf16, fp16",
    ("openvino", "cpu"): "fp32, bf16, int8",
}


@pytest.mark.parametrize(
    ("where", "precision"),
    list(itertools.product(POSSIBLE, ["fp32", "bf16", "fp16", "int8"])),
)
def test_precisions_that_are_not_there_are_refused_with_those_that_are(machine, where, precision):
    backend, device = where
    params = {"backend": backend, "device": device, "precision": precision}
    if precision in POSSIBLE[where].split(", "):
        assert choice(settled(**params)) == (backend, precision, device)
        return
    refusal = f"{precision} is not there with {backend} on {device}; possible: {POSSIBLE[where]}"
    with pytest.raises(InputError) as error:
        settled(**params)
    assert str(error.value) == f"embed.precision: {refusal}"


def test_openvino_that_is_not_installed_is_named_with_the_line_that_installs_it(machine):
    machine(openvino=False)
    with pytest.raises(MissingExtra) as error:
        settled(backend="openvino")
    assert str(error.value).splitlines() == [
        "OpenVINO (embed.backend: openvino) is not installed. Install it with:",
        "  pip install 'mixcurate[openvino]'",
    ]


def test_int8_needs_nncf(machine):
    machine(nncf=False)
    with pytest.raises(MissingExtra) as error:
        settled(backend="openvino", precision="int8")
    assert str(error.value).splitlines() == [
        "NNCF (embed.precision: int8) is not installed. Install it with:",
        "  pip install 'mixcurate[int8]'",
    ]


@pytest.mark.parametrize(
    ("gpu", "elsewhere", "device"),
    [(True, None, "auto"), (False, "cuda", "auto"), (False, None, "cuda")],
)
def test_openvino_on_a_gpu_is_refused(machine, gpu, elsewhere, device):
    machine(gpu=gpu)
    with pytest.raises(InputError, match=r"embed\.backend: openvino runs on the CPU, not on cuda"):
        settled(elsewhere, backend="openvino", device=device)


@pytest.mark.parametrize("trust", [False, True])
def test_a_model_with_code_runs_on_torch(machine, model_with_code, trust):
    found = settled(model=model_with_code, trust_remote_code=trust)
    assert choice(found) == ("torch", "fp32", "cpu")
    assert "the model brings code of its own" in found.reason
    with pytest.raises(InputError, match="brings its own code; use backend: torch"):
        settled(model=model_with_code, trust_remote_code=trust, backend="openvino")


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda"])
@pytest.mark.parametrize("elsewhere", [None, "cpu", "cuda"])
def test_a_static_model_runs_on_the_cpu_wherever(machine, static_model, device, elsewhere):
    machine(gpu=True)
    found = settled(elsewhere, model=static_model, device=device)
    assert choice(found) == ("static", "fp32", "cpu")
    assert found.reason.startswith("a static model")
    asked = settled(elsewhere, model=static_model, device=device, backend="static")
    assert choice(asked) == ("static", "fp32", "cpu")


@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_a_static_model_on_another_backend_is_refused(machine, static_model, backend):
    with pytest.raises(InputError, match=rf"embed\.backend: {backend}, but .* is a static model"):
        settled(model=static_model, backend=backend)


def test_another_model_on_the_static_backend_is_refused(machine):
    refusal = r"'embedded' is no static model \(it has Transformer, Pooling, Normalize\)"
    with pytest.raises(InputError, match=refusal):
        settled(backend="static")


@pytest.mark.parametrize("precision", ["bf16", "fp16", "int8"])
def test_a_static_model_is_fp32(machine, static_model, precision):
    with pytest.raises(InputError, match=rf"{precision} is not there with static on cpu"):
        settled(model=static_model, precision=precision)


def test_a_folder_that_is_no_model_is_refused(machine, tmp_path):
    with pytest.raises(InputError, match=f"{tmp_path} is no model"):
        settled(model=str(tmp_path))


def test_parameters_reach_the_spec(machine):
    found = settled(
        max_tokens=17,
        long_documents="mean_of_windows",
        max_windows=3,
        batch_tokens=99,
        trust_remote_code=True,
    )
    assert (found.max_tokens, found.long_documents, found.max_windows) == (17, "mean_of_windows", 3)
    assert (found.batch_tokens, found.trust_remote_code) == (99, True)
    assert (found.model, found.revision) == ("embedded", None)
    assert found.weights == spec().weights


def test_a_gpu_is_looked_for_only_where_there_are_device_files(monkeypatch):
    monkeypatch.setattr(resolve.os.path, "exists", lambda path: False)
    assert not resolve.sees_gpu()


def test_a_torch_for_cpus_sees_no_gpu(monkeypatch):
    monkeypatch.setattr(resolve.os.path, "exists", lambda path: True)
    monkeypatch.setattr(resolve.metadata, "version", lambda name: "2.9.0+cpu")
    assert not resolve.sees_gpu()


BASE = spec("openvino")


@pytest.mark.parametrize(
    "change",
    [
        {"weights": "0" * 64},
        {"backend": "torch"},
        {"precision": "int8"},
        {"max_tokens": 128},
        {"long_documents": "mean_of_windows"},
        {"long_documents": "mean_of_windows", "max_windows": 3},
    ],
)
def test_identity_changes_with_what_vectors_depend_on(change):
    assert dataclasses.replace(BASE, **change).identity != BASE.identity


def test_the_number_of_windows_counts_only_with_windows():
    assert dataclasses.replace(BASE, max_windows=3).identity == BASE.identity
    three, four = (
        dataclasses.replace(BASE, long_documents="mean_of_windows", max_windows=count)
        for count in (3, 4)
    )
    assert three.identity != four.identity


@pytest.mark.parametrize(
    "change",
    [
        {"model": "/elsewhere/the-same-model"},
        {"revision": "0" * 40},
        {"device": "cuda"},
        {"batch_tokens": 64},
        {"trust_remote_code": True},
        {"reason": "because"},
    ],
)
def test_identity_stays_with_everything_else(change):
    assert dataclasses.replace(BASE, **change).identity == BASE.identity


def test_people_read_the_model_and_the_manner():
    assert BASE.description == "all-MiniLM-L6-v2, openvino fp32 on cpu, 256 tokens"
    hub = dataclasses.replace(
        BASE, model="org/name", revision="0123456789abcdef", long_documents="mean_of_windows"
    )
    assert hub.description == (
        "org/name@01234567, openvino fp32 on cpu, 256 tokens, up to 16 windows"
    )


def test_a_folder_is_loaded_as_the_spec_says(tmp_path):
    model = copied_model(tmp_path / "model")
    found = settled(model=str(model), backend="torch", device="cpu", max_tokens=8)
    encoder = resolve.load(found, threads=1)
    assert encoder.spec == found
    assert (encoder.dimension, encoder.max_tokens) == (384, 8)
    assert encoder.load_seconds > 0


@pytest.mark.parametrize("backend", ["torch", pytest.param("openvino", marks=needs_openvino)])
def test_the_models_own_maximum_is_not_exceeded(backend):
    assert resolve.load(spec(backend, max_tokens=100_000), threads=1).max_tokens == 256


def test_cuda_without_a_gpu_is_refused_when_the_model_is_loaded(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(InputError, match=r"embed\.device: cuda, but torch sees no GPU"):
        resolve.load(spec(device="cuda"), threads=1)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.safetensors", b"no weights"),
        ("model.safetensors", b""),
        ("config.json", b"{}"),
        ("config.json", b'{"model_type": "no such type"}'),
        ("tokenizer.json", b"{"),
        ("1_Pooling/config.json", b"{}"),
    ],
)
def test_a_broken_file_is_an_error_of_the_model(tmp_path, name, content):
    model = copied_model(tmp_path / "model", weights=name != "model.safetensors")
    (model / name).write_bytes(content)
    broken = spec(model=str(model))
    with pytest.raises(InputError, match=rf"embed\.model: cannot load '{model}': "):
        resolve.load(broken, threads=1)


@pytest.mark.parametrize(
    "bad",
    [
        {"device": "tpu"},
        {"max_tokens": 0},
        {"batch_tokens": 0},
        {"max_windows": 0},
        {"backend": "onnx"},
        {"precision": "fp8"},
        {"long_documents": "split"},
        {"store": "float64"},
        {"unknown": 1},
    ],
)
def test_parameters_out_of_range_are_refused(bad):
    with pytest.raises(ValidationError, match=next(iter(bad))):
        EmbedParams.model_validate(bad)
