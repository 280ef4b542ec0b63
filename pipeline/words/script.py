"""How a module that is run by itself (`python -m …`) ends."""

import sys
from collections.abc import Callable

import typer

from pipeline.words.errors import InputError


def run_script(name: str, command: Callable[..., None]) -> None:
    """Run a command with typer; InputError becomes one line and exit code 2."""
    try:
        typer.run(command)
    except InputError as error:
        print(f"{name}: {error}", file=sys.stderr)
        sys.exit(2)
