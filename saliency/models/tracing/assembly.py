"""From pieces to nodes: pieces without an operator that follow one another within a scope become one."""

import re
from collections import Counter
from collections.abc import Sequence
from math import prod
from typing import Any

import jax

from saliency.models.graph import Node
from saliency.models.operators import Operator, Shape, is_map
from saliency.models.operators.program import Held, Opaque, Pointwise, Scalar, Step
from saliency.models.tracing.pieces import Piece, Value, inner, view

Key = tuple[Piece, int]


def assembled(outs: list[Value]) -> tuple[list[Node], dict[str, dict[str, Any]], dict[Key, str]]:
    """Nodes and parameters of what the values need, and the node of each piece's result. Pieces without an operator
    that follow one another within a scope become one, up to a result that others read."""
    pieces: set[Piece] = set()
    waiting = [value.piece for value in outs]
    while waiting:
        piece = waiting.pop()
        if piece not in pieces:
            pieces.add(piece)
            waiting += [value.piece for value in piece.inputs]
    ordered = sorted(pieces, key=lambda piece: piece.order)
    read = {(v.piece, v.result) for v in outs}
    read.update((v.piece, v.result) for piece in ordered for v in piece.inputs if not _joined(v, piece))
    read.update((piece, 0) for piece in ordered if piece.heads)
    keys = [
        (piece, i) for piece in ordered for i in range(len(piece.results)) if (piece, i) in read or not piece.inputs
    ]
    names = _named_keys(keys)
    nodes, weights = [], {}
    for key in keys:
        operator, inputs, parameters = _operator(key, read)
        nodes.append(Node(names[key], operator, tuple(names[v.piece, v.result] for v in inputs)))
        if parameters:
            weights[names[key]] = parameters
    return nodes, weights, names


def _joined(value: Value, reader: Piece) -> bool:
    """Whether a value may become an inner one of its reader's operator."""
    piece = value.piece
    if piece.operator or reader.operator or piece.kind != reader.kind or piece.scope != reader.scope:
        return False
    view = (value.shape, value.spatial) == piece.results[value.result]
    return view or piece.kind == "pointwise" or (value.spatial is None and piece.results[value.result][1] is None)


def _operator(key: Key, read: set[Key]) -> tuple[Operator, list[Value], dict[str, Any]]:
    """The operator that gives a result, what it reads, and its parameters."""
    last, result = key
    if last.operator:
        return last.operator, last.inputs, last.parameters
    members, waiting = {last}, [last]
    while waiting:
        piece = waiting.pop()
        for value in piece.inputs:
            if _joined(value, piece) and (value.piece, value.result) not in read and value.piece not in members:
                members.add(value.piece)
                waiting.append(value.piece)
    ordered = sorted(members, key=lambda piece: piece.order)
    pointwise = last.kind == "pointwise"
    views: dict[tuple, int] = {}
    inputs: list[Value] = []
    for piece in ordered:
        for value in piece.inputs:
            outer = value.piece not in members or (value.piece, value.result) in read
            if outer and view(value) not in views:
                views[view(value)] = len(inputs)
                inputs.append(value)
    constants = [constant for piece in ordered for constant in piece.constants]
    slots = len(inputs) + len(constants)
    steps: list[Step] = []
    results: dict[Key, int] = {}
    first = len(inputs)
    for piece in ordered:
        own: list[int] = []  # slots of the piece's steps' results
        local: dict[int, int] = {}
        for i, value in enumerate(piece.inputs):
            if view(value) in views:
                local[i] = views[view(value)]
                continue
            local[i] = results[value.piece, value.result]
            taken = inner(value.shape, value.spatial, pointwise)
            stated = inner(*value.piece.results[value.result], pointwise)
            if taken != stated:
                reshaping = (("dimensions", None), ("new_sizes", taken), ("sharding", None))
                steps.append(Step(jax.lax.reshape_p, reshaping, (local[i],)))
                local[i], slots = slots, slots + 1
        for primitive, params, refs, count in piece.steps:
            operands: list[int | Scalar] = []
            for ref in refs:
                match ref:
                    case ("input", i):
                        operands.append(local[i])
                    case ("constant", i):
                        operands.append(first + i)
                    case ("result", i):
                        operands.append(own[i])
                    case Scalar():
                        operands.append(ref)
            steps.append(Step(primitive, _frozen(params), tuple(operands), count))
            own += range(slots, slots + count)
            slots += count
        first += len(piece.constants)
        for i in range(len(piece.results)):
            results[piece, i] = own[len(own) - len(piece.results) + i]
    shape, spatial = last.results[result]
    common = (
        tuple(steps),
        tuple(inner(v.shape, v.spatial, pointwise) for v in inputs),
        results[key],
        inner(shape, spatial, pointwise),
        len(constants),
        sum(piece.multiplications for piece in ordered),
    )
    operator: Operator
    if pointwise:
        operator = Pointwise(*common, tuple(shape for _, shape in constants))
    else:
        held = max(prod(shape) for piece in ordered for shape, _ in piece.results)
        operator = Opaque(*common, tuple(v.spatial for v in inputs), spatial, held)
    return operator, inputs, {f"p{i}": array for i, (array, _) in enumerate(constants)}


def _frozen(params: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    def hashable(value: Any) -> bool:
        try:
            hash(value)
        except TypeError:
            return False
        return True

    return tuple((name, value if hashable(value) else Held(value)) for name, value in sorted(params.items()))


def _named_keys(keys: list[Key]) -> dict[Key, str]:
    """Names: its scope's for the last one within it, scope/kind for those before, numbered where it must be."""
    scopes = {piece.scope for piece, _ in keys if piece.scope and piece.inputs}
    common = _common([scope.split("/") for scope in scopes])
    last = {piece.scope: (piece, i) for piece, i in keys}
    names: dict[Key, str] = {}
    used: Counter[str] = Counter()
    for piece, i in keys:
        scope = "/".join(piece.scope.split("/")[common:]) if piece.inputs else piece.scope
        scope = re.sub(r"[^\w./>-]", "_", scope)  # names stand in options, lists and files
        kind = "attention" if piece.heads else piece.kind
        own = scope if last[piece.scope] == (piece, i) else f"{scope}/{kind}"
        base = own if scope else kind
        used[base] += 1
        name = base + (str(used[base]) if not scope else f"_{used[base]}" if used[base] > 1 else "")
        while name in names.values():
            name += "_"
        names[piece, i] = name
    return names


def _common(paths: list[list[str]]) -> int:
    """How many first parts all paths share; what remains tells some of them apart."""
    count = 0
    while all(len(path) > count for path in paths) and any(len(path) > count + 1 for path in paths):
        if len({path[count] for path in paths}) > 1:
            break
        count += 1
    return count


def shapes_of(nodes: list[Node], image: Shape) -> dict[str, Shape]:
    shapes: dict[str, Shape] = {}
    for node in nodes:
        shapes[node.name] = node.layer.shape(*([shapes[i] for i in node.inputs] or [image]))
    return shapes


def grids_of(nodes: list[Node], shapes: dict[str, Shape]) -> tuple[tuple[str, int, int, int], ...]:
    """Layers of tokens `[t, d]`, whose last tokens are the places of the map that they were made of."""
    places: dict[str, tuple[int, int]] = {}
    grids = []
    for node in nodes:
        shape = shapes[node.name]
        found = [places[name] for name in node.inputs if name in places]
        if is_map(shape):
            places[node.name] = shape[0], shape[1]
        elif found:
            rows, columns = places[node.name] = found[0]
            if len(shape) == 2 and 0 <= shape[0] - rows * columns <= 8:
                grids.append((node.name, shape[0] - rows * columns, rows, columns))
    return tuple(grids)


def last_with_places(nodes: list[Node], shapes: dict[str, Shape], grids: Sequence[tuple[str, int, int, int]]) -> str:
    """The last activation that still has height and width, and that all of the computation passes through. Of tokens,
    where some stand before the grid, the last that attention reads: on what comes later not all others have a say."""
    order = [node.name for node in nodes]
    maps = [name for name in order[1:] if is_map(shapes[name])]
    tokens = [name for name, *_ in grids]
    found = maps
    if tokens and (not maps or order.index(maps[-1]) < order.index(tokens[-1])):
        found = tokens if grids[-1][1] == 0 else _attended(nodes, tokens)
    return next((name for name in reversed(found) if _all_pass(nodes, name)), found[-1] if found else order[-1])


def _attended(nodes: list[Node], tokens: Sequence[str]) -> list[str]:
    """The tokens that the last attention depends on."""
    attending = [node.name for node in nodes if node.layer.attends]
    needed = set(attending[-1:])
    for node in reversed(nodes):
        if node.name in needed:
            needed.update(node.inputs)
    return [name for name in tokens if name in needed] or list(tokens)


def _all_pass(nodes: list[Node], name: str) -> bool:
    """Whether no later node reads an earlier one than this."""
    order = [node.name for node in nodes]
    later = nodes[order.index(name) + 1 :]
    return {i for node in later for i in node.inputs} <= {name, *(node.name for node in later)}
