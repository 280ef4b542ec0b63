"""The kinds of product that can hold rows, in the order in which they are erased."""

from pipeline.engine.export import Export
from pipeline.engine.ingest import Ingest
from pipeline.engine.plan import Node
from pipeline.engine.product import Product
from pipeline.engine.singles import registered


def kinds() -> dict[str, type[Product]]:
    """By their names in the journal."""
    return {"ingest": Ingest, "stages": Node, "export": Export, **registered()}
