"""File formats of annotated images."""
