"""The command `timeline`: a picture of what happened, from results or of VMs that are judged now."""

from __future__ import annotations

import sys
from collections.abc import Sequence  # noqa: TC003 -- typer reads annotations at run time
from pathlib import Path  # noqa: TC003 -- the same
from typing import Annotated, Any

import typer

from pulumi_customization_gate import timeline as pictures
from pulumi_customization_gate.command_line import options
from pulumi_customization_gate.command_line.connection import Access  # noqa: TC001 -- the same
from pulumi_customization_gate.command_line.exit_codes import errors_reported
from pulumi_customization_gate.command_line.input_files import read_json, words_of
from pulumi_customization_gate.command_line.judging import judge_now
from pulumi_customization_gate.core.errors import ConfigurationError
from pulumi_customization_gate.core.text import sanitize


@options.connected
def timeline(
    source: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE",
            show_default=False,
            help="JSON with a gate's results: `pulumi stack output --json`, `pulumi stack export`, or the report of "
            "`wait --output json`. Without a file, or with -, standard input. With --live: references to VMs.",
        ),
    ] = None,
    *,
    access: Access,
    svg: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write an SVG picture there; - is standard output.")
    ] = None,
    theme: Annotated[pictures.Theme, typer.Option(help="The picture's background.")] = pictures.Theme.light,
    align: Annotated[
        pictures.Align,
        typer.Option(
            help="clock: all bars share one clock. power-on: each bar starts at the power-on of its VM. auto: "
            "clock, unless the VMs were created at times far apart."
        ),
    ] = pictures.Align.auto,
    title: Annotated[str, typer.Option(help="The picture's title.")] = "",
    live: Annotated[bool, typer.Option("--live", help="Judge VMs now, and draw the result.")] = False,
) -> None:
    """Draw a bar for each VM, in the terminal or as an SVG picture.

    A bar shows the power-on, the start and the end of the customization, and the times when the VM was ready and the
    gate opened. The name of a failure is beside its bar.

    For example:

    - `pulumi stack output --json | customization-gate timeline`
    - `customization-gate timeline export.json --svg timeline.svg`
    - `customization-gate wait 'web-*' --output json | customization-gate timeline --svg timeline.svg`
    - `customization-gate timeline --live 'web-*'`
    """
    from pulumi_customization_gate.command_line import views  # noqa: PLC0415 -- `--help` does not need it
    from pulumi_customization_gate.command_line.json_output import report_document  # noqa: PLC0415 -- the same

    with errors_reported():
        if live:
            document: Any = report_document(judge_now(access, words_of(source or []), requires_customization=False))
        else:
            document = _document(source or ["-"])
        chart, title = pictures.chart(pictures.waits(document), align), sanitize(title)
        if svg is None:
            pictures.show(chart, views.console(stderr=False), title)
        else:
            _write(pictures.svg(chart, theme, title), svg)


def _document(files: Sequence[str]) -> Any:
    if len(files) > 1:
        raise ConfigurationError("expected one file; several VMs need --live")
    name = files[0]
    if name == "-" and sys.stdin is not None and sys.stdin.isatty():
        raise ConfigurationError("expected a file, JSON on standard input, or --live and VMs, got nothing")
    return read_json(name)


def _write(picture: bytes, file: Path) -> None:
    if str(file) == "-":
        typer.echo(picture, nl=False)
        return
    try:
        file.write_bytes(picture)
    except OSError as error:
        raise ConfigurationError(f"{str(file)!r} cannot be written: {error.strerror}") from None
