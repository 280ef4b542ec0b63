"""Taking rows out of a run folder: out of its shards, parts and exports, and finishing that."""
