"""The kept rows in the layouts of other tools. A new layout is one new module in this package."""
