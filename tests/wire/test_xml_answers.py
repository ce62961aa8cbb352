"""Whatever an answer holds, what is written is XML that says it."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnlock.wire import xml_answers


def may_stand_in_xml(char: str) -> bool:
    """Tell whether XML 1.0, section 2.2, has this character."""
    code = ord(char)
    ranges = ((0x20, 0xD7FF), (0xE000, 0xFFFD), (0x10000, 0x10FFFF))
    return code in {0x9, 0xA, 0xD} or any(low <= code <= high for low, high in ranges)


@given(st.text(st.characters(), max_size=30))
def test_readers_find_the_text_that_was_written(text: str) -> None:
    written = xml_answers.element("a", xml_answers.text(text)).encode()
    expected = "".join(char if may_stand_in_xml(char) else "\ufffd" for char in text)
    assert (ET.fromstring(written).text or "") == expected


@pytest.mark.parametrize(
    "text",
    ["<b/>", "&amp;", "]]>", "<!--", "<![CDATA[x]]>", "<?x?>", '"quoted"', "a\r\nb\rc", " \t", "\ud800"],
)
def test_text_stays_text(text: str) -> None:
    root = ET.fromstring(xml_answers.element("a", xml_answers.text(text)).encode())
    assert len(root) == 0
    assert root.text == text.replace("\ud800", "\ufffd")


def test_a_namespace_is_an_attribute() -> None:
    assert xml_answers.element("a", namespace='u"&<') == "<a xmlns='u\"&amp;&lt;'></a>"
