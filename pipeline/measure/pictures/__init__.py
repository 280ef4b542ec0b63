"""Measurements of pictures."""
