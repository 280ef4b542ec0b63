"""The error that ends a shard's fetch, as opposed to a row's failure (`pipeline.words.failure`)."""


class FetchStoppedError(RuntimeError):
    """Fetching itself cannot go on, whatever the row: the shard is given up, not its rows."""
