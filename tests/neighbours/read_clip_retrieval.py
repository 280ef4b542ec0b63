"""clip-retrieval: indexes the vectors of pictures and captions, and the metadata beside them."""

import importlib.metadata
import json
import sys
import tempfile

import faiss
import pyarrow.parquet as pq
from clip_retrieval.clip_index import clip_index

with tempfile.TemporaryDirectory() as out:
    clip_index(
        embeddings_folder=sys.argv[1], index_folder=out, max_index_memory_usage="1G",
        current_memory_available="2G", nb_cores=1,
    )  # fmt: skip
    counts = {faiss.read_index(f"{out}/{kind}.index").ntotal for kind in ("image", "text")}
    counts |= {pq.read_table(f"{out}/metadata").num_rows}
(samples,) = counts
print(json.dumps({"version": importlib.metadata.version("clip_retrieval"), "samples": samples}))
