"""The sample table: shards of rows, parts of columns beside them, and the run folder of both."""
