"""Detection on cameras, videos, streams and images."""
