"""Names of files, and addresses, as text that can be shown, written and handed to libraries in C++.

To Linux a name is bytes, to Python text, in which a byte that is not UTF-8 stands as a lone surrogate (PEP 383). UTF-8
has no surrogates: what encodes such a name raises, and what converts it for C++ may crash.
"""

import json
import re
from typing import Any


def as_utf8(text: str) -> str:
    """The text, each byte that is not UTF-8 as %XX, as in addresses: `caf%E9.jpg`."""
    return re.sub("[\ud800-\udfff]", _escaped, text)


def printable(text: str) -> str:
    """The text without what a terminal obeys; names come from files and the command line."""
    return "".join(
        character if character.isprintable() or character == "\n" else ascii(character)[1:-1]
        for character in as_utf8(text)
    )


def is_like_address(text: str) -> bool:
    """Whether it may be an address, such as `rtsp:/host`, or hold a user and password, such as `user:password@host`."""
    return bool(re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/|(?![./~\\]).*:.*@", text, re.DOTALL))


def without_user(text: str) -> str:
    """The text as it may be shown: of an address, scheme, host and path, never what stands before the last @.

    The address may follow a name: `--source=rtsp://...`, `door=rtsp://...`.
    """
    if named := re.match(r"[\w.-]+=(?=[A-Za-z][A-Za-z0-9+.-]+://)", text):
        return named[0] + without_user(text[named.end() :])
    if not is_like_address(text):
        return text
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]+:/{1,2})?", text)[0]  # type: ignore[index]
    rest = text.removeprefix(scheme)
    if re.search("[/?#].*@", rest, re.DOTALL):  # where the host begins cannot be told
        return f"{scheme}..."
    _, user, place = rest.rpartition("@")
    return f"{scheme}{'...@' if user and not scheme else ''}{re.split('[?#]', place)[0]}"


def to_json(document: Any, **options: Any) -> str:
    """JSON in UTF-8, whatever names are in it; `options` are those of `json.dumps`."""
    return as_utf8(json.dumps(document, ensure_ascii=False, **options))


def _escaped(surrogate: re.Match[str]) -> str:
    code = ord(surrogate[0])
    # the others stand for no byte: they come from JSON, and from names on Windows
    return f"%{code - 0xDC00:02X}" if 0xDC80 <= code <= 0xDCFF else f"%{code:04X}"
