"""What was found in an image: the value itself, its formats, and drawing it."""
