"""Which commit this code is: what the build says of itself, or the checkout that it runs from."""

from pathlib import Path

_ROOT = Path(__file__).parents[2]


def checked_out(root: Path = _ROOT) -> str | None:
    """The commit of the checkout; None for an installed package, which has none."""
    git = root / ".git"
    try:
        head = (git / "HEAD").read_text().strip()
        if not head.startswith("ref: "):
            return head
        name = head.removeprefix("ref: ")
        if (git / name).is_file():
            return (git / name).read_text().strip()
        packed = (line.split(" ", 1) for line in (git / "packed-refs").read_text().splitlines() if " " in line)
        return next((commit for commit, found in packed if found == name), None)
    except OSError:
        return None


COMMIT = checked_out() if (_ROOT / "pyproject.toml").is_file() else None
"""Read once, when the process starts: what is checked out later is not what runs."""
