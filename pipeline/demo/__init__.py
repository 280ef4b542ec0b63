"""A small drawn web with known faults, for demonstrations and tests without a network."""
