"""Makers of the demo's two small models; nothing in a run needs them."""
