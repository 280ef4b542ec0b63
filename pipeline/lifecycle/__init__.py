"""What happens to a run after its end: rows fetched again, rows taken down."""
