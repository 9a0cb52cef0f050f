"""Pages, read as a browser would."""

import base64
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np


class Page(HTMLParser):
    """The elements of a page: (tag, attributes), and the texts of table rows, captions and marks."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text = path.read_text("utf-8")
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.captions: list[str] = []
        self.titles: list[str] = []
        self.words: list[str] = []
        self._open: list[str] | None = None
        self.feed(self.text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self._open = self.rows[-1]
        elif tag in ("figcaption", "title"):
            self._open = self.captions if tag == "figcaption" else self.titles
            self._open.append("")

    def handle_endtag(self, tag):
        if tag in ("figcaption", "title", "td", "th"):
            self._open = None

    def handle_data(self, data):
        self.words.append(data)
        if self._open is not None:
            self._open[-1] += data

    def row(self, name: str) -> list[str]:
        return next(row[1:] for row in self.rows if row and row[0] == name)

    @property
    def pictures(self) -> list[np.ndarray]:
        sources = [str(attributes["src"]) for tag, attributes in self.elements if tag == "img"]
        assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
        files = (base64.b64decode(source.partition(",")[2]) for source in sources)
        return [cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR) for file in files]

    def check_self_contained(self) -> None:
        """See that the page runs nothing and asks for nothing."""
        for tag, attributes in self.elements:
            assert tag not in ("script", "link", "iframe", "object", "base")
            assert not [name for name in attributes if name.startswith("on")]
            assert str(attributes.get("href", "#")).startswith("#")
            assert str(attributes.get("src", "data:")).startswith("data:")
        assert "url(" not in self.text and "@import" not in self.text and "http:" not in self.text
        policy = next(attributes["content"] for _, attributes in self.elements if "http-equiv" in attributes)
        assert policy.startswith("default-src 'none'")
        assert "prefers-color-scheme: dark" in self.text
        inside = {attributes.get("id") for _, attributes in self.elements}
        assert {str(attributes["href"])[1:] for tag, attributes in self.elements if tag == "a"} <= inside
