"""A run: its products, what of them is up to date, and the tasks that make the rest."""
