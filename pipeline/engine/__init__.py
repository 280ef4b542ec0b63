"""A run: its products, what of them stands, and the tasks that make the rest."""
