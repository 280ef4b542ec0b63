"""The sample table: shards (rows), parts (a stage's columns for a shard), and their run folder."""
