from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from mixcurate.errors import InputError
from mixcurate.io import classifier_file
from mixcurate.io.classifier_file import (
    ClassifierFile,
    read_classifier_file,
    write_classifier_file,
)

ENCODER = {
    "model": "all-MiniLM-L6-v2",
    "weights_sha256": "ab" * 32,
    "backend": "torch",
    "precision": "fp32",
    "max_tokens": 256,
    "long_documents": "truncate",
    "dimension": 4,
}


def example(**changes: object) -> ClassifierFile:
    random = np.random.default_rng(0)
    file = ClassifierFile(
        weight=random.normal(size=(4, 3)).astype(np.float32),
        bias=random.normal(size=3).astype(np.float32),
        domains=np.array([0, 1, 4], np.int32),
        domain_ids=("a", "b", "c"),
        names=("Sport", 'Küche "daheim"', "机器学习"),
        encoder=ENCODER,
        accuracy=0.9,
        macro_f1=math.nan,
        n_train=90,
        n_held_out=10,
    )
    return dataclasses.replace(file, **changes)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "classifier.safetensors")


@pytest.mark.parametrize("order", ["C", "F"])
def test_what_is_written_is_read(path, order):
    file = example(weight=np.array(example().weight, order=order))
    write_classifier_file(path, file)
    found = read_classifier_file(path)
    for name in ("weight", "bias", "domains"):
        np.testing.assert_array_equal(getattr(found, name), getattr(file, name))
        assert getattr(found, name).dtype == getattr(file, name).dtype
    assert (found.names, found.domain_ids, found.encoder) == (
        file.names, file.domain_ids, file.encoder,
    )  # fmt: skip
    assert (found.accuracy, found.n_train, found.n_held_out) == (0.9, 90, 10)
    assert math.isnan(found.macro_f1)


def test_the_same_classifier_gives_the_same_bytes(path):
    write_classifier_file(path, example())
    first = Path(path).read_bytes()
    write_classifier_file(path, example())
    assert Path(path).read_bytes() == first


def test_the_same_model_on_other_hardware_fits():
    example().require_encoder("x", ENCODER | {"backend": "openvino", "precision": "bf16"})


@pytest.mark.parametrize(
    "change", [{"weights_sha256": "cd" * 32}, {"max_tokens": 128}, {"dimension": 384}]
)
def test_another_model_is_refused_with_what_differs(change):
    with pytest.raises(InputError, match=next(iter(change))):
        example().require_encoder("classifier.safetensors", ENCODER | change)


def test_damage_is_told(path):
    write_classifier_file(path, example())
    data = Path(path).read_bytes()
    damaged = [
        b"",
        b"{}",
        data[:-1],
        data[:50],
        b"\xff" * 100,
        save({"weight": np.zeros((4, 3), np.float32)}),
        save({"weight": np.zeros(3, np.float32)}, {"mixcurate": "{}"}),
    ]
    for case in damaged:
        Path(path).write_bytes(case)
        with pytest.raises(InputError, match="no classifier"):
            read_classifier_file(path)


@pytest.mark.parametrize(
    "change", [{"bias": np.zeros(2, np.float32)}, {"names": ("a",)}, {"weight": np.zeros(3)}]
)
def test_parts_that_do_not_fit_together_are_told(path, change):
    write_classifier_file(path, example(**change))
    with pytest.raises(InputError, match="do not fit together"):
        read_classifier_file(path)


def test_a_file_that_is_not_there_or_too_large_is_told(path, monkeypatch):
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_classifier_file(path)
    write_classifier_file(path, example())
    monkeypatch.setattr(classifier_file, "MAX_BYTES", 10)
    with pytest.raises(InputError, match="larger than"):
        read_classifier_file(path)
