"""The kept rows in the layouts of others' tools. A new layout is one new module in this package."""
