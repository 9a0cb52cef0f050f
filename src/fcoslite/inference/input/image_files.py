"""Image files in folders."""

from pathlib import Path

from fcoslite.errors import SourceError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


def is_image(path: Path) -> bool:
    """Whether the name is that of an image."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def images_in(folder: Path, recursive: bool = False) -> list[Path]:
    """The images of a folder by name, hidden ones left out; of those below it, too, if asked for.

    Raises:
        SourceError: There is none.
    """
    entries = folder.rglob("*") if recursive else folder.iterdir()
    shown = (entry for entry in entries if not any(part.startswith(".") for part in entry.relative_to(folder).parts))
    found = sorted(entry for entry in shown if is_image(entry) and entry.is_file())
    if not found:
        below = "" if recursive else ", not in folders below"
        raise SourceError(f"no image in {folder}", f"looked for {', '.join(IMAGE_SUFFIXES)}{below}")
    return found
