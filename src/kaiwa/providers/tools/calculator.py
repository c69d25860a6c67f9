"""Arithmetic. An expression is parsed as Python's, and only what is named here is done.

Every number stays small enough to be reckoned with at once, so nothing has to be cut off.
"""

import ast
import math
import warnings
from collections.abc import Callable
from typing import Annotated, Final

from msgspec import Meta

from kaiwa.errors import ToolFailed
from kaiwa.providers.tools.means import Means

Number = int | float

LONGEST: Final = 1000
_MOST_BITS: Final = 10_000
_MOST_GROWN: Final = 1000
"""The largest argument of what grows as factorials do."""

_CONSTANTS: Final = {"pi": math.pi, "π": math.pi, "e": math.e, "tau": math.tau}
_FUNCTIONS: Final[dict[str, Callable[..., object]]] = {
    "abs": abs, "round": round, "min": min, "max": max, "floor": math.floor, "ceil": math.ceil,
    "trunc": math.trunc, "sqrt": math.sqrt, "cbrt": math.cbrt, "exp": math.exp, "log": math.log,
    "ln": math.log, "log2": math.log2, "log10": math.log10, "sin": math.sin, "cos": math.cos,
    "tan": math.tan, "asin": math.asin, "acos": math.acos, "atan": math.atan, "atan2": math.atan2,
    "arcsin": math.asin, "arccos": math.acos, "arctan": math.atan, "sinh": math.sinh,
    "cosh": math.cosh, "tanh": math.tanh, "degrees": math.degrees, "radians": math.radians,
    "hypot": math.hypot, "gcd": math.gcd, "lcm": math.lcm, "factorial": math.factorial,
    "comb": math.comb, "perm": math.perm,
}  # fmt: skip
_GROWING: Final = ("factorial", "comb", "perm", "lcm")
_SPELLINGS: Final = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-", "^": "**"})


async def eval_expression(
    means: Means,
    expression: Annotated[
        str,
        Meta(
            description="Such as (2 + 3) ** 2 / sqrt(7). Operators: + - * / // % ** and brackets;"
            f" constants: pi, e; functions: {', '.join(_FUNCTIONS)}. Angles are"
            " in radians."
        ),
    ],
) -> str:
    """Work out an arithmetic expression. Use it for every calculation."""
    return calculate(expression)


def calculate(expression: str) -> str:
    """The value: whole numbers in full, others with 15 digits. Raises `ToolFailed`."""
    if len(expression) > LONGEST:
        raise ToolFailed(f"The expression is longer than {LONGEST} characters.")
    try:
        value = _work_out(_parse(expression))
    except ZeroDivisionError as error:
        raise ToolFailed("The expression divides by zero.") from error
    except OverflowError as error:
        raise ToolFailed("A number in the expression is too large.") from error
    except (ValueError, TypeError) as error:
        raise ToolFailed(f"The expression has no value: {error}.") from error
    except (RecursionError, MemoryError) as error:
        raise ToolFailed("The expression is nested too deeply.") from error
    if isinstance(value, int):
        return str(value)
    return f"{value:.15g}"


def _parse(expression: str) -> ast.expr:
    text = expression.strip().removeprefix("=").translate(_SPELLINGS)
    try:
        with warnings.catch_warnings(action="ignore"):
            return ast.parse(f"({text}\n)", mode="eval").body
    except SyntaxError as error:
        raise ToolFailed(f"The expression cannot be read: {error.msg}.") from error


def _work_out(node: ast.expr) -> Number:
    found: object
    match node:
        case ast.Constant(value=value) if type(value) in (int, float):
            found = value
        case ast.Name(id=name) if name in _CONSTANTS:
            found = _CONSTANTS[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            found = -_work_out(operand)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            found = _work_out(operand)
        case ast.BinOp(left=left, op=op, right=right):
            found = _combine(_work_out(left), op, _work_out(right))
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
            found = _call(name, [_work_out(each) for each in args])
        case ast.Tuple(elts=[_, *_]):
            raise ToolFailed("Write numbers without commas, and 1.5 with a point.")
        case _:
            raise ToolFailed(f"The expression cannot hold {ast.unparse(node)[:60]!r}.")
    return _check(found)


def _combine(left: Number, op: ast.operator, right: Number) -> object:
    match op:
        case ast.Add():
            return left + right
        case ast.Sub():
            return left - right
        case ast.Mult():
            return left * right
        case ast.Div():
            return left / right
        case ast.FloorDiv():
            return left // right
        case ast.Mod():
            return left % right
        case ast.Pow():
            return _raise(left, right)
        case _:
            raise ToolFailed("The expression has an operator that is not known.")


def _raise(base: Number, exponent: Number) -> object:
    if isinstance(base, int) and isinstance(exponent, int):
        bits = base.bit_length() * abs(exponent)
        if bits > _MOST_BITS and abs(base) > 1:
            raise OverflowError
    return base**exponent


def _call(name: str, values: list[Number]) -> object:
    if name not in _FUNCTIONS:
        raise ToolFailed(f"There is no function {name[:60]!r}.")
    growing = values if name in _GROWING else values[1:] if name == "round" else []
    if any(abs(value) > _MOST_GROWN for value in growing):
        raise OverflowError
    return _FUNCTIONS[name](*values)


def _check(value: object) -> Number:
    if isinstance(value, int):
        if value.bit_length() > _MOST_BITS:
            raise OverflowError
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, float):
        raise OverflowError
    raise ToolFailed("The expression has no real value.")
