"""Image files in folders."""

from pathlib import Path

from fcoslite.data.image_formats import IMAGE_SUFFIXES, is_image
from fcoslite.errors import SourceError


def images_in(folder: Path, recursive: bool = False) -> list[Path]:
    """The images of a folder by name, hidden ones left out; of those below it, too, if asked for.

    What has the name of an image is there even if it cannot be read, such as a link to nothing: whoever reads it
    learns the reason, and tells.

    Raises:
        SourceError: There is none.
    """
    entries = folder.rglob("*") if recursive else folder.iterdir()
    shown = (entry for entry in entries if not any(part.startswith(".") for part in entry.relative_to(folder).parts))
    found = sorted(entry for entry in shown if is_image(entry) and not entry.is_dir())
    if not found:
        below = "" if recursive else ", not in folders below"
        raise SourceError(f"no image in {folder}", f"looked for {', '.join(IMAGE_SUFFIXES)}{below}")
    return found
