"""The input list of pairs: finding and reading its files, and dealing the rows into shards."""
