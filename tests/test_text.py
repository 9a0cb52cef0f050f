"""Text that is valid UTF-8 and harmless, whatever it was made of."""

import json
import os

from hypothesis import given
from hypothesis import strategies as st

from fcoslite.errors import FcosliteError
from fcoslite.text import as_utf8, printable, to_json

ANY_TEXT = st.text(st.characters())  # with lone surrogates


def test_a_byte_is_written_as_in_addresses() -> None:
    name = os.fsdecode(b"caf\xe9 \xc3\xa9 50%.jpg")
    assert as_utf8(name) == "caf%E9 é 50%.jpg"
    assert json.loads(to_json({"name": name})) == {"name": "caf%E9 é 50%.jpg"}
    assert printable(name + "\x1b[2J") == "caf%E9 é 50%.jpg\\x1b[2J"
    assert FcosliteError(name).message == "caf%E9 é 50%.jpg"


@given(ANY_TEXT)
def test_any_text_becomes_utf8(text: str) -> None:
    for shown in (as_utf8(text), printable(text), to_json([text, {text: text}])):
        assert shown.encode().decode() == shown
    assert as_utf8(text) == text or any(0xD800 <= ord(character) <= 0xDFFF for character in text)
    assert all(character == "\n" or character.isprintable() for character in printable(text))
