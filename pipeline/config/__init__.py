"""Job files: pydantic models (the reference) and their loader."""
