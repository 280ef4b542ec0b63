"""Loaders for the models that measure pictures and captions."""
