"""`pantheon doctor`: what is wrong with an installation, and what to do about it. It only reads."""

from typing import TYPE_CHECKING, Annotated

import typer

from pantheon.cli.output import AsJson, show

if TYPE_CHECKING:
    from pantheon.cli.checks import Finding

_COLORS = {"ok": typer.colors.GREEN, "warning": typer.colors.YELLOW, "failed": typer.colors.RED}


def doctor(
    against: Annotated[
        str | None, typer.Option(metavar="URL", help="Compare the deployment at this address with this code instead.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check settings, database and Stripe, or a deployment from outside; exit 1 when something has failed.

    It changes nothing, here or there.

    \b
    Examples:
      pantheon doctor
      pantheon doctor --against https://pantheon.example.com
    """
    import asyncio

    from pantheon.cli.checks import Result
    from pantheon.cli.checks.deployment import check_deployment
    from pantheon.cli.checks.installation import check_installation

    findings = asyncio.run(check_deployment(against) if against is not None else check_installation())
    show(_table(findings), [finding.fields for finding in findings], as_json=as_json)
    raise typer.Exit(any(finding.result is Result.FAILED for finding in findings))


def _table(findings: "list[Finding]") -> str:
    width = max(len(finding.check) for finding in findings)
    lines = []
    for finding in findings:
        mark = typer.style(f"{finding.result:<7}", fg=_COLORS[finding.result])
        lines.append(f"{mark}  {finding.check:<{width}}  {finding.found}")
        if finding.advice:
            lines.append(f"{'':<7}  {'':<{width}}  → {finding.advice}")
    return "\n".join(lines)
