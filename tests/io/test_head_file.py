from __future__ import annotations

import dataclasses
import math
import pickle
from pathlib import Path

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from mixcurate.errors import InputError
from mixcurate.io import head_file
from mixcurate.io.head_file import HeadFile, read_head_file, write_head_file

ENCODER = {
    "model": "all-MiniLM-L6-v2",
    "weights_sha256": "ab" * 32,
    "backend": "torch",
    "precision": "fp32",
    "max_tokens": 256,
    "long_documents": "truncate",
    "dimension": 4,
}


def example(hidden: int | None = None, **changes: object) -> HeadFile:
    random = np.random.default_rng(0)
    widths = [4, *([hidden] if hidden else []), 3]
    file = HeadFile(
        dimensions=(("clarity", 0.0, 1.0), ("knowledge", -1.0, 1.0)),
        layers=tuple(
            (random.normal(size=pair).astype(np.float32), random.normal(size=pair[1]).astype("f4"))
            for pair in zip(widths[:-1], widths[1:], strict=True)
        ),
        mean=random.normal(size=4).astype(np.float32),
        scale=random.uniform(1, 2, 4).astype(np.float32),
        encoder=ENCODER,
        trained_on={"documents": 400, "labels": "cd" * 16, "seed": 1, "model": 'Küche "机器"'},
        measured={"clarity": {"mae": 0.1, "spearman": None, "reliability": [{"n": 3}]}},
    )
    return dataclasses.replace(file, **changes)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "head.safetensors")


def assert_equal(found: HeadFile, file: HeadFile) -> None:
    for name in ("dimensions", "encoder", "trained_on", "measured", "signals"):
        assert getattr(found, name) == getattr(file, name)
    arrays = [
        [one.mean, one.scale, *(part for layer in one.layers for part in layer)]
        for one in (found, file)
    ]
    for left, right in zip(*arrays, strict=True):
        np.testing.assert_array_equal(left, right)
        assert left.dtype == right.dtype


@pytest.mark.parametrize("hidden", [None, 7])
@pytest.mark.parametrize("order", ["C", "F"])
def test_what_is_written_is_read(path, hidden, order):
    file = example(hidden)
    layers = tuple((np.array(weight, order=order), bias) for weight, bias in file.layers)
    write_head_file(path, dataclasses.replace(file, layers=layers))
    assert_equal(read_head_file(path), file)


def test_names_of_signals_are_kept_and_older_files_have_none(path):
    file = example(signals=("n_words", "a signal of another version"))
    write_head_file(path, file)
    assert_equal(read_head_file(path), file)
    write_head_file(path, example())
    assert b"signals" not in Path(path).read_bytes()
    assert read_head_file(path).signals == ()


@pytest.mark.parametrize("signals", [("x", "x"), ("a", "b", "c", "d"), (3,), (["x"],)])
def test_signals_that_do_not_fit_are_refused(path, signals):
    with pytest.raises(InputError, match="signal"):
        write_head_file(path, example(signals=signals))


def test_the_same_heads_give_the_same_bytes(path):
    write_head_file(path, example())
    first = Path(path).read_bytes()
    again = example(encoder=dict(reversed(ENCODER.items())))
    write_head_file(path, again)
    assert Path(path).read_bytes() == first


def test_the_same_model_on_other_hardware_fits():
    example().require_encoder("x", ENCODER | {"backend": "openvino", "precision": "bf16"})


@pytest.mark.parametrize(
    "change", [{"weights_sha256": "cd" * 32}, {"max_tokens": 128}, {"dimension": 384}]
)
def test_another_model_is_refused_with_what_differs_and_the_fix(change):
    message = f"head.safetensors is for .*{next(iter(change))} .*mixcurate train-quality"
    with pytest.raises(InputError, match=message):
        example().require_encoder("head.safetensors", ENCODER | change)


def ranges(*dimensions: object) -> dict[str, object]:
    return {"dimensions": dimensions}


UNFIT = {
    "wide bias": {"layers": ((np.ones((4, 3), "f4"), np.ones(4, "f4")),)},
    "bias of two axes": {"layers": ((np.ones((4, 3), "f4"), np.ones((1, 3), "f4")),)},
    "no layers": {"layers": ()},
    "three layers": {"layers": ((np.ones((4, 4), "f4"), np.ones(4, "f4")),) * 3},
    "layers that do not meet": {
        "layers": ((np.ones((4, 5), "f4"), np.ones(5, "f4")), example().layers[0])
    },
    "double": {"mean": np.zeros(4)},
    "short scale": {"scale": np.ones(3, "f4")},
    "zero scale": {"scale": np.array([1, 0, 1, 1], "f4")},
    "nan": {"mean": np.array([0, np.nan, 0, 0], "f4")},
    "infinite": {"layers": ((np.full((4, 3), np.inf, "f4"), np.ones(3, "f4")),)},
    "scalar mean": {"mean": np.array(1, "f4")},
    "no dimensions": ranges(),
    "one twice": ranges(("a", 0, 1), ("a", 0, 2)),
    "too few points": ranges(("a", 0, 2)),
    "half points": ranges(("a", 0, 1.5), ("b", 0, 1.5)),
    "backwards": ranges(("a", 0, -1), ("b", 0, 4)),
    "hostile name": ranges(("../a", 0, 1), ("b", 0, 2)),
    "name of a number": ranges((1, 0, 1), ("b", 0, 2)),
    "no range": ranges(("a", 0, math.nan), ("b", 0, 3)),
    "no encoder": {"encoder": [1]},
    "no measures": {"measured": None},
}


@pytest.mark.parametrize("change", UNFIT.values(), ids=UNFIT.keys())
def test_parts_that_do_not_fit_are_neither_written_nor_read(path, change, monkeypatch):
    with pytest.raises(InputError, match=r"head.safetensors: .* cannot be written"):
        write_head_file(path, example(**change))
    assert not Path(path).exists()
    with monkeypatch.context() as patched:
        patched.setattr(head_file, "_problem", lambda file: None)
        write_head_file(path, example(**change))
    with pytest.raises(InputError, match=r"head.safetensors is no file of quality heads.*give a "):
        read_head_file(path)


def test_damage_is_told(path):
    write_head_file(path, example())
    data = Path(path).read_bytes()
    length = int.from_bytes(data[:8], "little")
    about = orjson.loads(data[8 : 8 + length])["__metadata__"]["mixcurate"]
    tensors = load(data)
    damaged = [
        b"",
        b"{}",
        data[:-1],
        data[:50],
        b"\xff" * 100,
        pickle.dumps(example()),
        save(tensors),
        save(tensors, {"mixcurate": "{}"}),
        save(tensors, {"mixcurate": "[" * 100_000}),
        save(tensors, {"mixcurate": about.replace('"clarity",0.0,1.0', '"clarity",0.0')}),
        save(tensors, {"mixcurate": about.replace('"clarity",0.0', '"clarity","x"')}),
        save({name: one for name, one in tensors.items() if name != "mean"}, {"mixcurate": about}),
        save(tensors | {"more": tensors["mean"]}, {"mixcurate": about}),
    ]
    for case in damaged:
        Path(path).write_bytes(case)
        with pytest.raises(InputError, match=r"is no file of quality heads.*give a file that"):
            read_head_file(path)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_any_changed_byte_gives_a_file_that_fits_or_an_error(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("head") / "head.safetensors"
    write_head_file(str(path), example())
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        found = read_head_file(str(path))
    except InputError:
        return
    assert head_file._problem(found) is None


def test_a_file_that_is_not_there_or_too_large_is_told(path, monkeypatch):
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_head_file(path)
    write_head_file(path, example())
    monkeypatch.setattr(head_file, "MAX_BYTES", 10)
    with pytest.raises(InputError, match="larger than"):
        read_head_file(path)
