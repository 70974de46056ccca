"""No float comes near money: not as a literal, by a call or as a type; and where money is computed, not by division."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "pantheon"
NEAR_MONEY = ("money", "ledger", "payments", "wallets")
COMPUTES_MONEY = ("money/", "ledger/")

EXCEPTIONS: dict[str, str] = {"ledger/lanes.py:module": "how long a lane waits before it connects again"}
"""Places where a float is right, as `file.py:function`, each with its reason."""


def floats_in(source: str, *, divisions: bool = True) -> list[str]:
    """`function:line` for each float of a module, with the function that it is in; a division of integers makes one."""
    found = []

    def visit(node: ast.AST, function: str) -> None:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            function = node.name
        if _is_float(node) or (divisions and _is_division(node)):
            found.append(f"{function}:{getattr(node, 'lineno', 0)}")
        for child in ast.iter_child_nodes(node):
            visit(child, function)

    visit(ast.parse(source), "module")
    return found


def _is_float(node: ast.AST) -> bool:
    match node:
        case ast.Constant(value=float() | complex()):
            return True
        # The name covers calls of it, annotations with it, and what is handed on.
        case ast.Name(id="float"):
            return True
    return False


def _is_division(node: ast.AST) -> bool:
    match node:
        case ast.BinOp(op=ast.Div(), left=ast.Call(func=ast.Name(id="Fraction"))):
            return False
        case ast.BinOp(op=ast.Div()) | ast.AugAssign(op=ast.Div()):
            return True
    return False


MODULES = sorted(
    path.relative_to(SOURCE).as_posix() for folder in NEAR_MONEY for path in (SOURCE / folder).rglob("*.py")
)


@pytest.mark.parametrize("module", MODULES)
def test_no_float_comes_near_money(module: str) -> None:
    # Elsewhere / joins paths.
    found = floats_in((SOURCE / module).read_text(), divisions=module.startswith(COMPUTES_MONEY))

    assert [place for place in found if f"{module}:{place.split(':')[0]}" not in EXCEPTIONS] == []


@pytest.mark.parametrize(
    "source",
    [
        "x = 0.5",
        "x = 1e3",
        "def f(x: float): ...",
        "x: float | None = None",
        "float('1')",
        "map(float, y)",
        "x = a / b",
        "x /= 2",
    ],
)
def test_a_float_would_be_found(source: str) -> None:
    assert floats_in(source) != []


@pytest.mark.parametrize("source", ["x = 1", "x = a // b", "x = Fraction(1, 3)", "'0.5'", "x = Fraction(a, b) / c"])
def test_what_is_exact_is_left_alone(source: str) -> None:
    assert floats_in(source) == []
