"""The error that ends a shard's fetch, as opposed to a row's failure (`pipeline.words.failure`)."""


class FetchStoppedError(RuntimeError):
    """No row can be fetched at present: the task of the shard fails, and no row gets a reason."""
