"""Counts rows that share a picture with given rows."""

from collections.abc import Collection

import pyarrow as pa

from pipeline.inspect.view import connect
from pipeline.table.run import Run


def related(run: Run, uids: Collection[str]) -> int:
    """How many other rows have the same bytes or the same duplicate group as one of these."""
    if not uids or not run.index:
        return 0
    with connect(run) as db:
        here = {str(row[0]) for row in db.execute("DESCRIBE samples").fetchall()}
        db.register("gone", pa.table({"uid": sorted(uids)}))
        alike = [
            f"{name} IN (SELECT {name} FROM samples SEMI JOIN gone USING (uid) "
            f"WHERE {name} IS NOT NULL)"
            for name in ("sha256", "dup_group")
            if name in here
        ]
        if not alike:
            return 0
        query = (
            f"SELECT count(*) FROM samples ANTI JOIN gone USING (uid) WHERE {' OR '.join(alike)}"
        )
        (count,) = db.execute(query).fetchone() or (0,)
    return int(count)
