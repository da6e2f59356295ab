"""Properties are tried on the same examples in each run: a change is what makes a test fail.

``pytest --hypothesis-profile=default`` looks for new ones.
"""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")
