"""Changes to existing runs: rows fetched again, rows taken down."""
