"""Commands that read a run's files: stats, status, explain, sql, plan, report."""
