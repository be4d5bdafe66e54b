"""Part 1: what the machine is, and how fast it multiplies and copies at best: the roofs of all other figures."""

import os
import shutil
import subprocess
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

import jax
import jax.numpy as jnp

from scripts.gpu.common import Journal, Row, again

KINDS = {"float32": "highest", "TF32": "tensorfloat32", "bf16": "bfloat16"}
LOOPS = 10


def run(journal: Journal, small: bool) -> None:
    journal.add(what="machine", **described())
    side = 256 if small else 8192
    journal.measure({"what": "copy"}, lambda: copy(2**20 if small else 2**30), least=2)
    for kind, precision in KINDS.items():
        key = {"what": "matrix product", "kind": kind, "side": side}
        journal.measure(key, partial(product, kind, precision, side), least=2)
    journal.done()


def described() -> Row:
    device = jax.devices()[0]
    stats = device.memory_stats() or {}
    found: Row = {
        "device": device.device_kind,
        "platform": device.platform,
        "devices": jax.device_count(),
        "memory_limit": stats.get("bytes_limit"),
        "cores": len(os.sched_getaffinity(0)),
    }
    for package in ("torch", "captum", "jax-cuda13-plugin", "jax-cuda12-plugin"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    if shutil.which("nvidia-smi"):
        query = "name,driver_version,memory.total,clocks.max.sm"
        said = subprocess.run(
            ["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"], capture_output=True, text=True, check=False
        )
        found["nvidia-smi"] = said.stdout.strip()
    found["torch there"] = find_spec("torch") is not None
    return found


def product(kind: str, precision: str, side: int) -> Row:
    """TFLOP/s of a square matrix product of random numbers."""
    dtype = jnp.bfloat16 if kind == "bf16" else jnp.float32
    a, b = (jax.random.normal(jax.random.key(i), (side, side), jnp.float32).astype(dtype) for i in range(2))
    with jax.default_matmul_precision(precision):
        multiply = jax.jit(jnp.matmul).lower(a, b).compile()

    def call() -> None:
        jax.block_until_ready([multiply(a, b) for _ in range(LOOPS)])

    call()
    found = again(call)
    return {**found, "tflops": 2 * side**3 * LOOPS / found["seconds"] / 1e12}


def copy(count: int) -> Row:
    """TB/s, read and written, of a float32 array of so many bytes made from another."""
    x = jax.random.normal(jax.random.key(0), (count // 4,), jnp.float32)
    move = jax.jit(lambda x: x + 1)

    def call() -> None:
        jax.block_until_ready([move(x) for _ in range(LOOPS)])

    call()
    found = again(call)
    return {**found, "tbytes": 2 * count * LOOPS / found["seconds"] / 1e12}
