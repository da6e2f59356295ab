"""The corpus that all tests of loaders read."""

from __future__ import annotations

from tests.loaders.made import made

__all__ = ["made"]
