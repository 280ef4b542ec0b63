"""What a run did, read back from its files: stats, status, explain, sql, report."""
