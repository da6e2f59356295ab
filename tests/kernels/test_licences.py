from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixcurate.errors import RequestError
from mixcurate.kernels.licences import (
    CLASSES,
    allowed,
    check_allowed,
    factors,
    licence_classes,
    spdx,
)

KNOWN = [
    ("https://creativecommons.org/licenses/by/4.0/", "CC-BY-4.0", "permissive"),
    ("http://creativecommons.org/licenses/by-sa/3.0/deed.fr", "CC-BY-SA-3.0", "share_alike"),
    (
        "//creativecommons.org/licenses/by-nc-sa/4.0/legalcode.de",
        "CC-BY-NC-SA-4.0",
        "non_commercial",
    ),
    ("https://www.creativecommons.org/licenses/by-nc-nd/2.0", "CC-BY-NC-ND-2.0", "non_commercial"),
    ("https://creativecommons.org/licences/by-nd/4.0", "CC-BY-ND-4.0", "no_derivatives"),
    ("http://creativecommons.org/licenses/by/3.0/de/", "CC-BY-3.0-DE", "permissive"),
    ("http://creativecommons.org/licenses/by-sa/3.0/fr/", "CC-BY-SA-3.0", "share_alike"),
    ("HTTPS://CreativeCommons.org/licenses/BY/3.0/IGO/", "CC-BY-3.0-IGO", "permissive"),
    ("https://creativecommons.org/publicdomain/zero/1.0/", "CC0-1.0", "public_domain"),
    ("https://creativecommons.org/publicdomain/mark/1.0/deed.en", "CC-PDM-1.0", "public_domain"),
    (
        "http://creativecommons.org/licenses/publicdomain/",
        "LicenseRef-public-domain",
        "public_domain",
    ),
    ("https://creativecommons.org/licenses/by/", "CC-BY", "permissive"),
    ("CC BY-SA 4.0", "CC-BY-SA-4.0", "share_alike"),
    ("cc-by-nc-4.0", "CC-BY-NC-4.0", "non_commercial"),
    ("cc_by_4.0", "CC-BY-4.0", "permissive"),
    ("CC-BY-SA-3.0-DE", "CC-BY-SA-3.0-DE", "share_alike"),
    ("cc-by", "CC-BY", "permissive"),
    ("CC BY 4.0 International", "CC-BY-4.0", "permissive"),
    ("Creative Commons Attribution 4.0 International License", "CC-BY-4.0", "permissive"),
    ("Creative Commons Attribution-ShareAlike License 3.0", "CC-BY-SA-3.0", "share_alike"),
    (
        "Creative Commons Attribution-NonCommercial-NoDerivs 4.0 International (CC BY-NC-ND 4.0)",
        "CC-BY-NC-ND-4.0",
        "non_commercial",
    ),
    ("CC0", "CC0-1.0", "public_domain"),
    ("cc0-1.0", "CC0-1.0", "public_domain"),
    ("Public Domain", "LicenseRef-public-domain", "public_domain"),
    ("MIT", "MIT", "permissive"),
    ("The MIT License", "MIT", "permissive"),
    ("https://opensource.org/licenses/MIT", "MIT", "permissive"),
    ("Apache License, Version 2.0", "Apache-2.0", "permissive"),
    ("apache-2.0", "Apache-2.0", "permissive"),
    ("http://www.apache.org/licenses/LICENSE-2.0.html", "Apache-2.0", "permissive"),
    ("BSD 3-Clause License", "BSD-3-Clause", "permissive"),
    ("bsd-2-clause", "BSD-2-Clause", "permissive"),
    ("GPL-3.0", "GPL-3.0-only", "share_alike"),
    ("GPLv2+", "GPL-2.0-or-later", "share_alike"),
    ("GPL-3.0-or-later", "GPL-3.0-or-later", "share_alike"),
    ("GNU General Public License v3.0", "GPL-3.0-only", "share_alike"),
    ("GNU Lesser General Public License version 2.1", "LGPL-2.1-only", "share_alike"),
    ("https://www.gnu.org/licenses/old-licenses/gpl-2.0.html", "GPL-2.0-only", "share_alike"),
    ("https://www.gnu.org/licenses/agpl-3.0.en.html", "AGPL-3.0-only", "share_alike"),
    ("http://www.gnu.org/copyleft/fdl.html", "GFDL-1.3-only", "share_alike"),
    (
        "https://www.nationalarchives.gov.uk/doc/open-government-licence/version/3/",
        "OGL-UK-3.0",
        "permissive",
    ),
    ("Open Government Licence v3.0", "OGL-UK-3.0", "permissive"),
    ("OGL-UK-3.0", "OGL-UK-3.0", "permissive"),
    ("odc-by", "ODC-By-1.0", "permissive"),
    ("https://opendatacommons.org/licenses/odbl/1-0/", "ODbL-1.0", "share_alike"),
    ("US Government Works", "LicenseRef-US-Government-Works", "public_domain"),
    ("© 2019 X. All rights reserved.", "LicenseRef-all-rights-reserved", "restricted"),
    ("All Rights Reserved", "LicenseRef-all-rights-reserved", "restricted"),
    (
        "Copyright 2020 Ann Lee. All rights reserved.",
        "LicenseRef-all-rights-reserved",
        "restricted",
    ),
]
UNKNOWN = [
    "see website",
    "MIT Technology Review",
    "ccc",
    "by",
    "https://x.org/terms",
    "CC",
    "OpenRAIL",
]


def column(values: list[str | None]) -> pa.Array:
    return pa.array(values, pa.string())


@pytest.mark.parametrize(("value", "name", "kind"), KNOWN)
def test_a_licence_is_recognised_however_it_is_written(value, name, kind):
    for spelling in (value, f" {value}\n", value.upper() if "©" not in value else value):
        (found,) = spdx(column([spelling])).to_pylist()
        assert found == name
    assert licence_classes(column([name])).to_pylist() == [kind]


@pytest.mark.parametrize("value", UNKNOWN)
def test_what_is_not_recognised_stays_and_is_unknown(value):
    named = spdx(column([f" {value} "]))
    assert named.to_pylist() == [value]
    assert licence_classes(named).to_pylist() == ["unknown"]


def test_identifiers_are_their_own_names():
    names = spdx(column([value for value, _, _ in KNOWN]))
    assert spdx(names).equals(names)


@given(st.lists(st.none() | st.text(max_size=30) | st.sampled_from([v for v, _, _ in KNOWN])))
def test_any_column_has_a_name_and_a_class_for_each_row(values):
    named = spdx(column(values))
    assert [name is None for name in named.to_pylist()] == [
        value is None or not value.strip() for value in values
    ]
    assert set(licence_classes(named).to_pylist()) <= set(CLASSES)
    for value, name in zip(values, named.to_pylist(), strict=True):
        assert spdx(column([value])).to_pylist() == [name]


def test_allowed_licences_are_classes_names_or_families():
    values = column(["CC BY-SA 4.0", "CC-BY-4.0", "CC-BY-3.0-DE", "mit", None, "odd", "CC0"])

    def rows(*allow: str) -> list[int]:
        return np.flatnonzero(allowed(values, list(allow))).tolist()

    assert rows("permissive", "public_domain") == [1, 2, 3, 6]
    assert rows("CC-BY") == [1, 2]
    assert rows("CC-BY-4.0") == [1]
    assert rows("https://creativecommons.org/licenses/by-sa/4.0/", "unknown") == [0, 4, 5]
    assert rows() == []
    assert allowed(column([]), ["unknown"]).shape == (0,)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("permisive", "did you mean 'permissive'"), ("my own licence", "valid: no_derivatives")],
)
def test_an_unknown_name_is_an_error_that_helps(name, hint):
    with pytest.raises(RequestError, match=hint):
        check_allowed(["MIT", name])


def test_factors_go_by_licence_or_else_by_class():
    values = column(["CC-BY-SA-4.0", "CC-BY-4.0", None, "MIT", "CC-BY-3.0-DE"])
    wanted = {"permissive": 3.0, "CC-BY": 5.0, "unknown": 0.5}
    assert factors(values, wanted).tolist() == [1.0, 5.0, 0.5, 3.0, 5.0]
    assert factors(column([]), wanted).shape == (0,)
