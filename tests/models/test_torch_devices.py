from __future__ import annotations

import multiprocessing

import numpy as np
import pytest

from mixcurate.errors import InputError
from mixcurate.models.embedded import encoder_folder
from mixcurate.models.encoder import Encoder
from mixcurate.models.encoders import EncodeStats
from mixcurate.models.torch_backend import TorchBackend
from mixcurate.models.torch_devices import TorchDevices
from tests.models.encoding import ODD, REAL, copied_model, spec

BATCHES = [REAL[:6], ODD, ["one"], [], REAL[6:9]]


def test_two_devices_give_what_one_gives_and_end():
    before = set(multiprocessing.active_children())
    devices = TorchDevices(spec(), encoder_folder(), ["cpu", "cpu"])
    started = set(multiprocessing.active_children()) - before
    assert len(started) == 2
    assert (devices.lanes, devices.ahead, devices.dimension) == (2, 4, 384)
    several = Encoder(spec(), devices.tokenizer, devices)
    backend = TorchBackend(spec(), encoder_folder(), threads=1, device="cpu")
    one = Encoder(spec(), backend.tokenizer, backend)

    stats, beats = (EncodeStats(), EncodeStats()), []
    found = list(several.encode(BATCHES, stats[0], lambda *beat: beats.append(beat)))
    expected = list(one.encode(BATCHES, stats[1]))
    assert [vectors.tobytes() for vectors in found] == [vectors.tobytes() for vectors in expected]
    assert stats[0].padded_tokens == stats[1].padded_tokens > stats[0].tokens == stats[1].tokens
    assert np.sum(beats, axis=0).tolist() == [stats[0].documents, stats[0].tokens]

    devices.close()
    assert not any(process.is_alive() for process in started)


def test_a_model_that_cannot_be_loaded_starts_no_process(tmp_path):
    before = set(multiprocessing.active_children())
    broken = copied_model(tmp_path / "model", weights=False)
    with pytest.raises(InputError, match="cannot load"):
        TorchDevices(spec(model=str(broken)), str(broken), ["cpu", "cpu"])
    assert set(multiprocessing.active_children()) == before
