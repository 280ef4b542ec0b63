"""A task that ends its process costs the rows that do it, and nothing else."""

from sick import sick  # noqa: F401 - a fixture

from pipeline.inspect.query import query


def marked(rows, faults):
    """The rows, with words in the captions of those at these places."""
    return [
        {**row, "caption": f"{row['caption']} {faults[i]}" if i in faults else row["caption"]}
        for i, row in enumerate(rows)
    ]


def table(result):
    rows = query(result.run, "select * exclude (shard, row) from samples order by uid").to_pylist()
    return {row["url"]: row for row in rows}


def test_one_guilty_row(alone, sick, counts):  # noqa: F811
    rows = marked(alone.site.rows, {13: "caption-KILL"})
    job = alone.job(rows, measure={"letters": {}})
    result = alone.run(job)
    print("\n".join(alone.said))
    print(sick.measured("caption"))
    print(result.quarantined)
    print(counts(result)["reasons"])
    assert result.quarantined == []
