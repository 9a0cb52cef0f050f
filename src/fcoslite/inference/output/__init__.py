"""Where results go: a window, files."""
