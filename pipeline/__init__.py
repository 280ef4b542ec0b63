"""winnow: from a list of (url, caption) rows to a clean image-text dataset."""

__version__ = "0.1.0"
