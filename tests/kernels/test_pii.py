from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from mixcurate.kernels.cleaning import MASKS, PiiParams
from mixcurate.kernels.pii import _find, find_phones, mask_pii
from mixcurate.kernels.pii_patterns import FINDERS, SCREENS

EVERY = PiiParams(**dict.fromkeys(MASKS, "mask"), phone_regions=["US", "GB"])
#: Put together here, so that no scanner of secrets takes them for real ones.
TOKEN = "gh" + "p_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
AWS = "AKI" + "AQ3EGTBLMZK7XH2PV"
JWT = "ey" + "JhbGciOiJIUzI1NiJ9.ey" + "JzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N"
BLOCK = f"-----BEGIN RSA PRIVATE KEY-----\n{'MIIEpAIBAAKCAQEA' * 8}\n-----END RSA PRIVATE KEY-----"


def column(texts: list[str]) -> pa.Array:
    return pa.array(texts, pa.large_string())


def masked(text: str) -> str:
    return mask_pii(column([text]), EVERY).text[0].as_py()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Write to ann.lee+x@mail.web.de.", "Write to <EMAIL>."),
        ("<a_b@x.co>, mailto:'o.neil@uni-x.ac.uk'", "<<EMAIL>>, mailto:'<EMAIL>'"),
        ("mail bob@firm.com.Next sentence", "mail <EMAIL>.Next sentence"),
        ("BOB@FIRM.COM; é@x.fr", "<EMAIL>; é@x.fr"),
        ("from 203.0.114.9:80 and 8.8.4.40/32.", "from <IP>:80 and <IP>/32."),
        ("the DNS server 9.9.9.9", "the DNS server <IP>"),
        ("at 2606:4700:4700::1111, up", "at <IP>, up"),
        ("call +49 30 227 32152 now", "call <PHONE> now"),
        ("call (212) 736-5000 or 0131 524 1120", "call <PHONE> or <PHONE>"),
        (f"token={TOKEN}; {AWS} {JWT}", "token=<KEY>; <KEY> <KEY>"),
        (f"a\n{BLOCK}\nb", "a\n<KEY>\nb"),
        ("card 4111 1111 1111 1111, 378282246310005", "card 4111 1111 1111 1111, <CARD>"),
        ("card 4539 1488 0343 6467.", "card <CARD>."),
        ("IBAN DE89 3704 0044 0532 0130 00 BIC", "IBAN <IBAN> BIC"),
        ("to GB82WEST12345698765432.", "to <IBAN>."),
    ],
)
def test_personal_data_is_masked_and_nothing_beside_it(text, expected):
    assert masked(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "logo@2x.png and icon@3x.jpg",
        "@media screen { @import x.css; }",
        "thanks @ann_lee and user@localhost",
        "git@github.com:a/b.git, me@example.com, you@shop.example",
        "ann at web dot de, ann[at]web.de, ann@ web.de, a@b",
        "@@@@@@ a@.com @a.com",
        "version 10.15.7.1, v120.0.6099.71, Chrome/120.0.6099.109 Safari",
        "Section 11.24.3.12 and § 12.20.33.4",
        "1.2.3.4 then 2.1.3.1.",
        "127.0.0.1 10.1.2.3 192.168.1.1 172.16.9.9 0.0.0.0 255.255.255.255 192.0.2.55",
        "1.22.33.44.55 and 300.200.100.50 and 12.34.56.78.9",
        "std::vector::size 12:30:45 a::b dead::beef 2001:db8::1 fe80::1",
        "ISBN 978-0-306-40615-7, ISSN 0317-8471",
        "2024-01-15 12:30:45, 15.01.2024, 01/15/2024, 1999-2004-2010",
        "$1,234,567.89 or 12 345 678 € or 1.234.567,89",
        "10.1016/j.cell.2020.01.015 arXiv:2005.14165",
        "order 4539148803436468 and 1234567890123456 and 0000 0000 0000 0000",
        "sha256 2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
        "id 550e8400-e29b-41d4-a716-446655440000 is a UUID",
        "0x7fff5fbff8c0 3.14159265358979 1e10 1234567",
        "gh" + "p_" + "x" * 36 + " AKIAIOSFODNN7" + "EXAMPLE sk-col-12-sm-8",
        "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A\n-----END PUBLIC KEY-----",
        "DE89 3704 0044 0532 0130 01 and XX82WEST12345698765432 and ROOM12 3456 ABCD",
        "x = [1234, 5678, 9012, 3456]; y = 12 34 56 78 90",
    ],
)
def test_what_only_looks_like_it_stays(text):
    assert masked(text) == text


def test_national_numbers_need_their_country():
    text = column(["call (212) 736-5000 or +1 212 736 5000"])
    international = mask_pii(text, PiiParams(phones="mask"))
    assert international.text.to_pylist() == ["call (212) 736-5000 or <PHONE>"]
    assert list(find_phones("call 030 227 32152", ["US"])) == []
    assert list(find_phones("call 030 227 32152", ["DE"])) == [(5, 18)]


def test_counts_and_drops_are_of_their_kind_only():
    texts = column(["ann@web.de, bob@web.de", "", f"{TOKEN} ann@web.de", "nothing"])
    found = mask_pii(texts, PiiParams(emails="mask", keys="drop"))
    assert list(found.counts) == ["keys", "emails"]
    assert found.counts["emails"].tolist() == [2, 0, 1, 0]
    assert found.counts["keys"].tolist() == [0, 0, 1, 0]
    assert found.counts["keys"].dtype == np.int32
    assert found.drop.tolist() == [False, False, True, False]
    assert found.text.to_pylist() == ["<EMAIL>, <EMAIL>", "", f"{TOKEN} <EMAIL>", "nothing"]


def test_all_is_kept_by_default_and_masks_can_be_chosen():
    texts = column(["ann@web.de"])
    assert mask_pii(texts, PiiParams()).text is texts
    params = PiiParams(emails="mask", masks={"emails": "email@example.com"})
    once = mask_pii(texts, params).text
    assert once.to_pylist() == ["email@example.com"]
    assert mask_pii(once, params).text is once


def test_an_unknown_country_is_an_error_that_helps():
    with pytest.raises(ValidationError, match="'UK' is no country code"):
        PiiParams(phone_regions=["UK"])


FINDS = ["ann@web.de", "8.8.4.4", "1.2.3.4", "+49 30 227 32152", "4539148803436467", TOKEN, AWS]
FINDS += [JWT, BLOCK, "GB82WEST12345698765432", "2606:4700:4700::1111"]
pieces = st.sampled_from([*FINDS, ".", ":", "x", "é", "@", "+", "5"]) | st.text(max_size=3)


@settings(deadline=None, max_examples=80)
@given(
    st.lists(st.lists(pieces).map(" ".join), max_size=4),
    st.integers(0, 2),
)
def test_the_screen_hides_no_find_and_masks_leave_none(texts, skipped):
    batch = column(texts)[skipped:]
    found = mask_pii(batch, EVERY)
    rest = texts[skipped:]
    for row, text in enumerate(rest):
        for kind, finder in FINDERS.items():
            if any(finder(text)):
                alone = mask_pii(batch, PiiParams(**{kind: "drop"}))
                assert alone.drop[row], SCREENS[kind]
        after = found.text[row].as_py()
        total = sum(int(found.counts[kind][row]) for kind in found.counts)
        assert (after == text) == (total == 0)
        assert not any(list(_find(kind, after, EVERY)) for kind in ("emails", "keys"))


def test_hostile_text_takes_no_time():
    texts = ["a@" * 50_000, "1." * 50_000, "1 " * 50_000, "a." * 50_000 + "@", "2000:" * 20_000]
    texts += ["+" * 50_000, "eyJ" * 30_000, "A1" * 50_000, "-----BEGIN PRIVATE KEY-----" * 2_000]
    assert len(mask_pii(column(texts), EVERY).text) == len(texts)
