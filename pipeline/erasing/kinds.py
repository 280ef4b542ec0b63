"""The kinds of product that can hold rows, in the order in which they are erased."""

from pipeline.exporting import Export
from pipeline.ingesting import Ingest
from pipeline.plan import Node
from pipeline.product import Product
from pipeline.singles import registered


def kinds() -> dict[str, type[Product]]:
    """By the name under which an erasure notes them."""
    return {"ingest": Ingest, "stages": Node, "export": Export, **registered()}
