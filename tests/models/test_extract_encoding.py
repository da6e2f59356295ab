from __future__ import annotations

import codecs

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mixcurate.models.extract_encoding import decode

TEXTS = {
    "gb18030": "中文网页的正文，由许多汉字组成，讲述一座桥梁的历史。" * 8,
    "windows-1251": "Старый мост через реку закрыли, потому что его опоры нужно обновить. " * 8,
    "koi8-r": "Старый мост через реку закрыли, потому что его опоры нужно обновить. " * 8,
    "shift_jis": "川に架かる古い橋は月曜日に閉鎖され、橋脚の修理が始まりました。" * 8,
    "euc-jp": "川に架かる古い橋は月曜日に閉鎖され、橋脚の修理が始まりました。" * 8,
    "euc-kr": "강을 가로지르는 오래된 다리는 월요일에 폐쇄되었습니다. " * 8,
    "big5": "橫跨河流的舊橋於星期一關閉，因為橋墩必須更新，工程需時兩年。" * 8,
    "windows-1252": "Die Brücke über den Fluß wird für zwei Jahre gesperrt – “Lärm”, 5 €. " * 8,
    "iso-8859-2": "Stary most przez rzekę został zamknięty, ponieważ filary są słabe. " * 8,
    "windows-1256": "أغلق الجسر القديم فوق النهر يوم الاثنين لأن أعمدته بحاجة إلى تجديد. " * 8,
    "windows-874": "สะพานเก่าข้ามแม่น้ำถูกปิดในวันจันทร์เพราะเสาต้องได้รับการซ่อมแซม " * 8,
    "iso-2022-jp": "川に架かる古い橋は月曜日に閉鎖されました。" * 8,
    "utf-8": "Die Brücke über den Fluß – 中文 – мост" * 8,
}


def page(text: str, declared: str | None = None) -> str:
    meta = f'<meta http-equiv="Content-Type" content="text/html; charset={declared}">'
    return f"<html><head>{meta if declared else ''}</head><body><p>{text}</p></body></html>"


@pytest.mark.parametrize("encoding", TEXTS)
def test_the_header_and_the_page_tell(encoding: str) -> None:
    text = TEXTS[encoding]
    codec = "cp874" if encoding == "windows-874" else encoding  # the name is the web's
    assert decode(page(text).encode(codec), encoding) == page(text)
    assert decode(page(text, encoding).encode(codec), None) == page(text, encoding)
    xml = f'<?xml version="1.0" encoding="{encoding}"?>' + page(text)
    assert decode(xml.encode(codec), None) == xml


SNIFFED = ["gb18030", "windows-1251", "koi8-r", "shift_jis", "euc-jp", "euc-kr", "big5", "utf-8"]


@pytest.mark.parametrize("encoding", [*SNIFFED, "windows-1252"])
def test_the_content_tells_where_nobody_does(encoding: str) -> None:
    text = page(TEXTS[encoding])
    assert decode(text.encode(encoding), None) == text


@pytest.mark.parametrize("encoding", SNIFFED)
@pytest.mark.parametrize("declared", ["iso-8859-1", "latin-1", "utf-8"])
def test_what_servers_say_of_every_page_is_not_believed(encoding: str, declared: str) -> None:
    text = page(TEXTS[encoding])
    assert decode(text.encode(encoding), declared) == text


def test_the_page_is_believed_where_the_header_cannot_be_right() -> None:
    text = page(TEXTS["iso-8859-2"], "iso-8859-2")
    assert decode(text.encode("iso-8859-2"), "utf-8") == text


@pytest.mark.parametrize("declared", [None, "utf-8", "iso-8859-1", "windows-1251"])
@pytest.mark.parametrize(
    ("encoding", "mark"),
    [
        ("utf-16-le", codecs.BOM_UTF16_LE),
        ("utf-16-be", codecs.BOM_UTF16_BE),
        ("utf-16-le", b""),
        ("utf-16-be", b""),
        ("utf-8", codecs.BOM_UTF8),
    ],
)
def test_utf_16_and_marks(encoding: str, mark: bytes, declared: str | None) -> None:
    text = page(TEXTS["utf-8"])
    assert decode(mark + text.encode(encoding), declared) == text


def test_one_broken_byte_does_not_change_the_encoding() -> None:
    whole = page(TEXTS["gb18030"]).encode()
    broken = whole[:200] + b"\xff" + whole[200:]
    for declared in ("utf-8", None):
        assert decode(broken, declared).count("中文网页") >= 7


def test_a_declared_western_page_stays_western() -> None:
    text = page(TEXTS["windows-1252"])
    for declared in ("iso-8859-1", "windows-1252", "utf-8", "ascii"):
        assert decode(text.encode("windows-1252"), declared) == text


@given(st.binary(max_size=300), st.text(max_size=12) | st.sampled_from(["utf-8", "hex", "idna"]))
@settings(max_examples=100, deadline=None)
def test_any_bytes_become_text(payload: bytes, charset: str) -> None:
    decode(payload, charset).encode("utf-8", "strict")
