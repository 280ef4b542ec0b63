"""Measurements of captions."""
