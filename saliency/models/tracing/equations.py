"""The primitives of a traced function in order, all calls taken apart, and those that do not depend on the image."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend import core

from saliency.models import strided
from saliency.models.operators import pointwise
from saliency.models.operators.program import Step

INLINED = {"jit", "pjit", "closed_call", "core_call", "checkpoint", "remat", "remat2", "custom_jvp_call"}
# functions of JAX with a derivative of their own, which is that of what they compute: they are looked into
KNOWN = {
    "clip", "gelu", "log_softmax", "logaddexp", "logsumexp", "relu6", "silu", "sinc", "_softmax", "softmax", "softplus",
}  # fmt: skip
RANDOM = {
    "threefry2x32", "random_bits", "random_seed", "random_wrap", "random_unwrap", "random_fold_in", "random_split",
    "rng_bit_generator", "rng_uniform",
}  # fmt: skip


@dataclass(frozen=True)
class Equation:
    """A primitive of the function with all calls taken apart."""

    primitive: Any
    params: dict[str, Any]
    inputs: list[Any]  # variables (objects), or Literals
    outputs: list[Any]
    avals: list[Any]  # of the outputs
    scope: str


@dataclass(frozen=True, eq=False)
class Constant:
    value: Any


def flat(jaxpr: Any, names: dict[Any, Any], scope: str) -> list[Equation]:
    """The equations in order; calls are looked into. `names` says what variables stand for."""

    def named(atom: Any) -> Any:
        return atom if isinstance(atom, core.Literal) else names.setdefault(atom, object())

    equations: list[Equation] = []
    for eqn in jaxpr.eqns:
        inner = "/".join(part for part in (scope, str(eqn.source_info.name_stack)) if part)
        sub = eqn.params.get("jaxpr", eqn.params.get("call_jaxpr"))
        looked_into = eqn.primitive.name in INLINED and not (eqn.primitive.name == "custom_jvp_call" and _kept(eqn))
        if sub is not None and (looked_into or _convolution(eqn)):
            closed = isinstance(sub, core.ClosedJaxpr)
            body = sub.jaxpr if closed else sub
            local: dict[Any, Any] = dict(zip(body.invars, map(named, eqn.invars)))
            if closed:
                for var, value in zip(body.constvars, sub.consts):
                    local[var] = Constant(value)
            equations += flat(body, local, inner)
            for outer, result in zip(eqn.outvars, body.outvars):
                names[outer] = result if isinstance(result, core.Literal) else local.setdefault(result, object())
        else:
            inputs, outputs = list(map(named, eqn.invars)), list(map(named, eqn.outvars))
            avals = [var.aval for var in eqn.outvars]
            equations.append(Equation(eqn.primitive, dict(eqn.params), inputs, outputs, avals, inner))
    return equations


def _kept(eqn: Any) -> bool:
    """A function with a derivative of its own, which has to be kept."""
    return function_name(eqn) not in KNOWN


def function_name(eqn: Any) -> str:
    """The name of a function with a derivative of its own, where it is JAX's; of our own ReLU that of JAX's."""
    name, file = _origin(eqn)
    if (name, file) == ("rectified", pointwise.__file__):
        return "relu"
    return name if "jax" in file.replace("\\", "/").split("/") else ""


def _convolution(eqn: Any) -> bool:
    """Our own convolution, as a zoo's network that is traced has it: it computes what JAX's computes."""
    return eqn.primitive.name == "custom_vjp_call" and _origin(eqn)[1] == strided.__file__


def _origin(eqn: Any) -> tuple[str, str]:
    """The name and the file of a function with a derivative of its own."""
    origin = eqn.params["call_jaxpr"].jaxpr.debug_info
    return str(origin.func_name), str(getattr(origin, "func_filename", "") or "")


def needed_for(equations: list[Equation], *outs: Any) -> list[Equation]:
    wanted = set(map(id, outs))
    kept = []
    for e in reversed(equations):
        if any(id(o) in wanted for o in e.outputs):
            kept.append(e)
            wanted.update(map(id, e.inputs))
    return kept[::-1]


def evaluated(equations: list[Equation], outs: list[Any]) -> list[Array]:
    """Constants, computed by one compiled function; arrays that are as large as weights go in as arguments."""
    if not outs:
        return []
    fixed = {id(i): i.value for e in equations for i in e.inputs if isinstance(i, Constant)}

    @jax.jit
    def run(fixed: dict[int, Any]) -> list[Array]:
        done: dict[int, Any] = dict(fixed)
        for e in equations:
            step = Step(e.primitive, tuple(e.params.items()), tuple(range(len(e.inputs))), len(e.outputs))
            slots = [jnp.asarray(i.val) if isinstance(i, core.Literal) else done[id(i)] for i in e.inputs]
            step.run(slots)
            done.update(zip(map(id, e.outputs), slots[len(e.inputs) :]))
        return [done[id(o)] for o in outs]

    return run(fixed)
