"""Arguments and options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

JobFile = Annotated[Path, typer.Argument(metavar="JOB.yaml", help="The job file.")]
RunFolder = Annotated[str, typer.Argument(metavar="RUN", help="A run folder, e.g. runs/demo.")]
Override = Annotated[
    list[str],
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key, e.g. embed.batch_size=32."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
Scheduler = Annotated[
    str | None,
    typer.Option("--scheduler", metavar="ADDRESS", help="Dask scheduler, or its scheduler file."),
]
Uids = Annotated[list[str], typer.Option("--uid", metavar="UID", help="The row of this uid.")]
Urls = Annotated[list[str], typer.Option("--url", metavar="URL", help="All rows of this URL.")]
Domains = Annotated[
    list[str], typer.Option("--domain", metavar="HOST", help="All rows of this host or below it.")
]
Sums = Annotated[
    list[str], typer.Option("--sha256", metavar="SUM", help="All rows of these bytes, as fetched.")
]
Lists = Annotated[
    list[Path],
    typer.Option("--file", help="Lines `uid:…`, `url:…`, `domain:…`, `sha256:…`; # comments."),
]
ExportOnly = Annotated[bool, typer.Option("--export", help="Only the exports.")]
Mend = Annotated[bool, typer.Option("--mend", help="Make the damaged parts again, and no others.")]
Where = Annotated[
    str,
    typer.Option(metavar="SQL", help="Which rows, e.g. \"reason = 'timeout'\", over `samples`."),
]
Prompts = Annotated[
    list[str], typer.Option("--prompt", help="Draw this instead of the job's prompts.")
]
SampleName = Annotated[str, typer.Argument(metavar="SAMPLE", help="A uid, its start, or a URL.")]
Query = Annotated[str, typer.Argument(metavar="SQL", help="A query over the view `samples`.")]
