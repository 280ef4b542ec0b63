"""Removing rows from a run folder: from its shards, parts and exports."""
