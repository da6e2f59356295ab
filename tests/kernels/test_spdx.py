from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.kernels.licences import CLASSES
from mixcurate.kernels.spdx import licence_table

#: SPDX specification 2.3, annex D: idstring is letters, digits, '-' and '.'.
IDENTIFIER = re.compile(r"NOASSERTION|(LicenseRef-)?[A-Za-z0-9.-]+")


@pytest.mark.parametrize(
    ("name", "spdx", "kind", "hub"),
    [
        ("unknown", "NOASSERTION", "unknown", "unknown"),
        ("CC-BY-4.0", "CC-BY-4.0", "permissive", "cc-by-4.0"),
        (
            "https://creativecommons.org/licenses/by-sa/3.0/",
            "CC-BY-SA-3.0",
            "share_alike",
            "cc-by-sa-3.0",
        ),
        ("CC-BY-SA", "LicenseRef-CC-BY-SA", "share_alike", "other"),
        ("MIT", "MIT", "permissive", "mit"),
        ("Apache 2.0", "Apache-2.0", "permissive", "apache-2.0"),
        ("odc-by", "ODC-By-1.0", "permissive", "odc-by"),
        ("GPLv3", "GPL-3.0-only", "share_alike", "gpl-3.0"),
        ("GFDL 1.3", "GFDL-1.3-only", "share_alike", "gfdl"),
        ("public domain", "LicenseRef-public-domain", "public_domain", "other"),
        ("All rights reserved.", "LicenseRef-all-rights-reserved", "restricted", "other"),
        ("Our own | terms (v2)", "LicenseRef-Our-own-terms-v2", "unknown", "other"),
        ("自由", "LicenseRef-unknown", "unknown", "other"),
    ],
)
def test_each_name_has_an_identifier(name, spdx, kind, hub):
    assert licence_table([name]) == [{"spdx": spdx, "class": kind, "hub": hub}]


@given(st.lists(st.text(max_size=30), max_size=8))
@settings(max_examples=100, deadline=None)
def test_whatever_a_source_wrote_becomes_an_identifier(names):
    found = licence_table(names)
    assert len(found) == len(names)
    for entry in found:
        assert IDENTIFIER.fullmatch(entry["spdx"])
        assert entry["class"] in CLASSES
