"""What is known of JAX's primitives: which are linear, cheap or elementwise, and how a factor passes through them."""

from collections.abc import Mapping, Sequence
from typing import Any

# primitives that are linear in an operand that depends on the image, if no other does (but for sums)
LINEAR = {
    "add", "add_any", "broadcast_in_dim", "concatenate", "convert_element_type", "copy", "div", "dot_general",
    "expand_dims", "mul", "neg", "reduce_sum", "reshape", "slice", "split", "squeeze", "sub", "transpose",
}  # fmt: skip
CHEAP = LINEAR - {"dot_general", "reduce_sum"} | {
    "abs", "and", "clamp", "eq", "ge", "gt", "le", "lt", "max", "min", "ne", "not", "or", "select_n", "sign",
}  # fmt: skip
# primitives whose result at a place depends on their operands there alone
ELEMENTWISE = {
    "abs", "acos", "acosh", "add", "add_any", "and", "asin", "asinh", "atan", "atan2", "atanh", "cbrt", "ceil", "clamp",
    "convert_element_type", "copy", "cos", "cosh", "digamma", "div", "eq", "erf", "erf_inv", "erfc", "exp", "exp2",
    "expm1", "floor", "ge", "gt", "integer_pow", "is_finite", "le", "lgamma", "log", "log1p", "logistic", "lt", "max",
    "min", "mul", "ne", "neg", "nextafter", "not", "or", "pow", "reduce_precision", "rem", "round", "rsqrt", "select_n",
    "sign", "sin", "sinh", "sqrt", "square", "stop_gradient", "sub", "tan", "tanh", "xor",
}  # fmt: skip


def degree(name: str, params: Mapping[str, Any], of: Sequence[float | None], zeros: Sequence[bool]) -> float | None:
    """k where a primitive's result goes with the k-th power of what its operands' degrees count; None where there is no
    such k, or none is known. Constants have degree 0; `zeros` says which operands are the number 0."""
    known = [one for one in of if one is not None]
    if len(known) < len(of):
        return None
    if not any(known):
        return 0.0
    match name:
        case "mul" | "dot_general":
            return sum(known)
        case "div":
            return known[0] - known[1]
        case "square":
            return 2 * known[0]
        case "sqrt":
            return known[0] / 2
        case "rsqrt":
            return -known[0] / 2
        case "integer_pow":
            return params["y"] * known[0]
    if name not in LINEAR and name not in ("abs", "max", "min", "reduce_max", "reduce_min"):
        return None
    alike = {one for one, zero in zip(known, zeros) if not zero}
    return alike.pop() if len(alike) == 1 else None
