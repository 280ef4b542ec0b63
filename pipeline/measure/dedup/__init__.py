"""Repeated pictures over all shards."""
