from __future__ import annotations

import numpy as np
import pytest

from mixcurate.models.embedded import encoder_folder
from mixcurate.models.encoder import Encoder
from mixcurate.models.resolve import load
from tests.models.encoding import ODD, REAL, has_package, spec


@pytest.fixture(scope="session")
def reference() -> np.ndarray:
    """What sentence-transformers makes of the real and the odd texts."""
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(encoder_folder(), device="cpu").encode(REAL + ODD)


@pytest.fixture(scope="session")
def torch_fp32() -> Encoder:
    return load(spec(), threads=2)


@pytest.fixture(scope="session")
def openvino_fp32() -> Encoder:
    if not has_package("openvino"):
        pytest.skip("needs openvino")
    return load(spec("openvino"), threads=2)


@pytest.fixture(scope="session")
def openvino_int8() -> Encoder:
    if not has_package("nncf"):
        pytest.skip("needs nncf")
    return load(spec("openvino", "int8"), threads=2)
