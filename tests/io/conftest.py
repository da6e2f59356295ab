"""What tests of several codecs need."""

from __future__ import annotations

import pytest

from mixcurate.io import embeddings


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Record batches of five vectors."""
    monkeypatch.setattr(embeddings, "ROWS", 5)
