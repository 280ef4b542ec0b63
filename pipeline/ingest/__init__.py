"""The list of pairs: its files, their dialects, and dealing the rows into shards."""
