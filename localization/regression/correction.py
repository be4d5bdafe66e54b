"""A linear correction of the best soft rectangle, fitted to overlap itself, and shrunk to no correction at all.

Boxes are shares of the photo, `[n, s, 4]`: one for each of s readings of a coverage map. The best one's code, (cx -
1/2, cy - 1/2, log w, log h), moves by a linear function of all boxes' corners and log sides. What changes its sign in a
mirrored photo moves cx alone, and what does not change moves the rest, so a mirrored photo gets the mirrored box.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from localization.boxes import iou

LAMBDAS = (0.3, 0.03, 0.003)
FOLDS = 4
STEPS = 80
LEAST_SIDE = 0.02  # of a box, in shares of the photo
LEAST_DEVIATION = 0.01  # of what varies less among the boxes learned from, little must not become much elsewhere
LOG_SIDES = (-4.0, 0.1)
REACH = (-0.2, 1.2)
HULL, HITS, STEEPNESS = 0.2, 0.5, 12.0  # of the loss


@dataclass(frozen=True)
class Correction:
    """`best` is the reading that is corrected; `weights` float64 `[4 d + 3]`, or None where the box is left as it is.

    `mean` and `deviation` `[d]` standardise the d numbers of the boxes. `penalty` is infinite without a correction.
    """

    best: int
    mean: Float[np.ndarray, " d"]
    deviation: Float[np.ndarray, " d"]
    weights: Float[np.ndarray, " p"] | None
    penalty: float

    def __call__(self, boxes: Float[np.ndarray, "n s 4"]) -> Float[np.ndarray, "n 4"]:
        """Corrected boxes in shares of the photo, inside of it."""
        if self.weights is None:
            return np.clip(boxes[:, self.best].astype(float), 0, 1)
        return np.clip(decoded(moved(self.weights, *self.parts(boxes), encoded(boxes[:, self.best]))), 0, 1)

    def parts(self, boxes: Float[np.ndarray, "n s 4"]) -> tuple[Float[np.ndarray, "n d"], Float[np.ndarray, "n d"]]:
        """The standardised numbers' halves: what stays and what changes its sign in the mirrored photo."""
        even, odd = even_odd(boxes)
        return (even - self.mean) / self.deviation, odd / self.deviation


def fit_correction(boxes: Float[np.ndarray, "n s 4"], true: Float[np.ndarray, "n 4"], seed: int = 0) -> Correction:
    """The reading with the largest mean IoU, corrected with the penalty whose left-out boxes are best by mean IoU plus
    half the share of hits. No correction is one of the choices, and wins where it is as good.

    `boxes` must be of left-out coverage maps, or the correction learns how well those know their own photos.
    """
    best = int(iou(boxes, true[:, None]).mean(0).argmax())
    even, odd = even_odd(boxes)
    mean = even.mean(0)
    deviation = np.maximum(np.sqrt(((even - mean) ** 2 + odd**2).mean(0)), LEAST_DEVIATION)
    none = Correction(best, mean, deviation, None, np.inf)
    even, odd = none.parts(boxes)
    start = encoded(boxes[:, best])
    figures = {np.inf: _figure(none(boxes), true)}
    found: dict[float, np.ndarray] = {}
    if len(boxes) >= 2 * FOLDS:
        parts = np.array_split(np.random.default_rng(seed).permutation(len(boxes)), FOLDS)
        counted = np.ones((FOLDS + 1, len(boxes)))  # the last leaves nobody out
        for one, part in zip(counted, parts):
            one[part] = 0
        weights = _fit(even, odd, start, true, np.repeat(LAMBDAS, FOLDS + 1), np.tile(counted, (len(LAMBDAS), 1)))
        for penalty, own in zip(LAMBDAS, weights.reshape(len(LAMBDAS), FOLDS + 1, -1)):
            left_out = np.empty((len(boxes), 4))
            for part, one in zip(parts, own):
                left_out[part] = decoded(moved(one, even[part], odd[part], start[part]))
            figures[penalty], found[penalty] = _figure(np.clip(left_out, 0, 1), true), own[-1]
    penalty = max(figures, key=lambda one: figures[one])
    return none if penalty == np.inf else Correction(best, mean, deviation, found[penalty], penalty)


def _figure(boxes: Float[np.ndarray, "n 4"], true: Float[np.ndarray, "n 4"]) -> float:
    overlap = iou(boxes, true)
    return float(overlap.mean() + HITS * (overlap > 0.5).mean())


def even_odd(boxes: Float[np.ndarray, "n s 4"]) -> tuple[Float[np.ndarray, "n d"], Float[np.ndarray, "n d"]]:
    """Corners and log sides of all boxes, d = 6 s: the even and the odd half, whose difference is the mirror's."""
    mirrored = np.stack([1 - boxes[..., 2], boxes[..., 1], 1 - boxes[..., 0], boxes[..., 3]], -1)
    own, flipped = (
        np.concatenate([b, np.log(np.maximum(b[..., 2:] - b[..., :2], LEAST_SIDE))], -1).reshape(len(b), 6 * b.shape[1])
        for b in (boxes.astype(float), mirrored.astype(float))
    )
    return (own + flipped) / 2, (own - flipped) / 2


def encoded(boxes: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, "n 4"]:
    """(cx - 1/2, cy - 1/2, log w, log h)."""
    low, high = boxes[:, :2], boxes[:, 2:]
    return np.concatenate([(low + high) / 2 - 0.5, np.log(np.maximum(high - low, LEAST_SIDE))], 1)


def decoded(codes: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, "n 4"]:
    """Boxes of codes; they may reach a little beyond the photo."""
    sides = np.exp(np.clip(codes[:, 2:], *LOG_SIDES))
    centre = codes[:, :2] + 0.5
    return np.clip(np.concatenate([centre - sides / 2, centre + sides / 2], 1), *REACH)


def moved(
    weights: Float[np.ndarray, " p"],
    even: Float[np.ndarray, "n d"],
    odd: Float[np.ndarray, "n d"],
    start: Float[np.ndarray, "n 4"],
) -> Float[np.ndarray, "n 4"]:
    """Codes moved by d weights for cx, d times 3 for the rest, and 3 constants."""
    d = even.shape[1]
    across, rest, constant = weights[:d], weights[d : 4 * d].reshape(d, 3), weights[4 * d :]
    return start + np.concatenate([(odd @ across)[:, None], even @ rest + constant], 1)


def losses(
    weights: Float[np.ndarray, "r p"],
    even: Float[np.ndarray, "n d"],
    odd: Float[np.ndarray, "n d"],
    start: Float[np.ndarray, "n 4"],
    true: Float[np.ndarray, "n 4"],
    penalties: Float[np.ndarray, " r"],
    counted: Float[np.ndarray, "r n"],
) -> tuple[Float[np.ndarray, " r"], Float[np.ndarray, "r p"]]:
    """For each of r weights the mean, over the boxes that it counts (1 or 0), of -(IoU - 0.2 share of the common hull
    that neither box covers) - 0.5 sigmoid(12 (IoU - 0.5)), plus its penalty times the squared weights without the
    constants; and the gradients. All at once, for a few boxes' arrays are too small to be worth a call each."""
    (r, n), d = counted.shape, even.shape[1]
    share = counted / counted.sum(1, keepdims=True)
    rest = weights[:, d : 4 * d].reshape(r, d, 3).transpose(2, 0, 1).reshape(3 * r, d)
    codes = np.empty((4, r, n))
    codes[0] = weights[:, :d] @ odd.T
    codes[1:] = (rest @ even.T).reshape(3, r, n) + weights[:, 4 * d :].T[:, :, None]
    codes += start.T[:, None]
    # as `decoded`; x beside y
    logs = codes[2:]
    half = np.exp(np.clip(logs, *LOG_SIDES)) / 2
    centre = codes[:2] + 0.5
    low, high = np.clip(centre - half, *REACH), np.clip(centre + half, *REACH)
    true_low, true_high = true.T[:2, None], true.T[2:, None]
    common = np.maximum(np.minimum(high, true_high) - np.maximum(low, true_low), 0)
    around = np.maximum(high, true_high) - np.minimum(low, true_low)
    sides, true_sides = high - low, true_high - true_low
    inside, hull = common[0] * common[1], around[0] * around[1]
    union = np.maximum(sides[0] * sides[1] + true_sides[0] * true_sides[1] - inside, 1e-6)
    overlap = inside / union
    hit = 1 / (1 + np.exp(-STEEPNESS * (overlap - 0.5)))
    gain = overlap - HULL * (1 - union / hull) + HITS * hit
    values = -(gain * share).sum(1) + penalties * (weights[:, : 4 * d] ** 2).sum(1)

    # the chain rule from the gain by the three areas to the corners, to the codes, to the weights
    by_overlap = 1 + HITS * STEEPNESS * hit * (1 - hit)
    by_area = -by_overlap * overlap / union + HULL / hull
    by_inside = by_overlap / union - by_area
    by_hull = -HULL * union / hull**2
    # the product of two sides, by the one, is the other
    own, shared, outer = by_area * sides[::-1], by_inside * common[::-1] * (common > 0), by_hull * around[::-1]
    by_low = -own - shared * (low > true_low) - outer * (low < true_low)
    by_high = own + shared * (high < true_high) + outer * (high > true_high)
    by_low *= (low > REACH[0]) & (low < REACH[1])
    by_high *= (high > REACH[0]) & (high < REACH[1])
    by_code = np.empty((4, r, n))
    by_code[:2] = by_low + by_high
    by_code[2:] = (by_high - by_low) * half * ((logs > LOG_SIDES[0]) & (logs < LOG_SIDES[1]))
    by_code *= -share
    by_rest = (by_code[1:].reshape(3 * r, n) @ even).reshape(3, r, d).transpose(1, 2, 0).reshape(r, 3 * d)
    gradients = np.concatenate([by_code[0] @ odd, by_rest, by_code[1:].sum(2).T], 1)
    gradients[:, : 4 * d] += 2 * penalties[:, None] * weights[:, : 4 * d]
    return values, gradients


def _fit(
    even: np.ndarray, odd: np.ndarray, start: np.ndarray, true: np.ndarray, penalties: np.ndarray, counted: np.ndarray
) -> Float[np.ndarray, "r p"]:
    zero = np.zeros((len(penalties), 4 * even.shape[1] + 3))
    return minimised(lambda at, runs: losses(at, even, odd, start, true, penalties[runs], counted[runs]), zero)


def minimised(
    function: Callable[[Float[np.ndarray, "k p"], Int[np.ndarray, " k"]], tuple[np.ndarray, np.ndarray]],
    start: Float[np.ndarray, "r p"],
    steps: int = STEPS,
    memory: int = 10,
) -> Float[np.ndarray, "r p"]:
    """r descents at once, each as if it were alone: L-BFGS (Nocedal 1980) with a backtracking line search.
    `function(at, runs)` gives the values and gradients of the descents with the numbers `runs`.

    SciPy's takes one descent at a time, and milliseconds a step for its own small matrices.
    """
    at, runs = start.copy(), np.arange(len(start))
    values, gradients = function(at, runs)
    pairs = np.zeros((2, len(start), memory, start.shape[1]))  # steps and changes of the gradient, the newest last
    for _ in range(steps):
        directions = -_inverse_hessian(pairs[:, runs], gradients[runs])
        slopes = _dots(directions, gradients[runs])
        down = slopes < -1e-12
        runs, directions, slopes = runs[down], directions[down], slopes[down]
        if not len(runs):
            break
        without = ~pairs[1, runs, -1].any(1)
        rates = np.where(without, np.minimum(1, 1 / np.abs(gradients[runs]).sum(1)), 1.0)
        left = np.arange(len(runs))  # places in `runs` that are still searched
        for _ in range(20):
            own, step = runs[left], rates[left, None] * directions[left]
            new_values, new_gradients = function(at[own] + step, own)
            good = new_values <= values[own] + 1e-4 * rates[left] * slopes[left]
            _move(pairs, own[good], step[good], (new_gradients - gradients[own])[good])
            at[own[good]] += step[good]
            values[own[good]], gradients[own[good]] = new_values[good], new_gradients[good]
            left = left[~good]
            if not len(left):
                break
            rates[left] /= 2
        runs = np.delete(runs, left)
    return at


def _move(pairs: np.ndarray, runs: np.ndarray, steps: np.ndarray, changes: np.ndarray) -> None:
    """The newest pairs of these descents, but where the function bends the wrong way."""
    bends = _dots(steps, changes) > 1e-10 * np.sqrt(_dots(steps, steps) * _dots(changes, changes))
    pairs[:, runs[bends], :-1] = pairs[:, runs[bends], 1:]
    pairs[:, runs[bends], -1] = steps[bends], changes[bends]


def _inverse_hessian(
    pairs: Float[np.ndarray, "2 r m p"], vectors: Float[np.ndarray, "r p"]
) -> Float[np.ndarray, "r p"]:
    """The products with the inverse Hessians that these (step, change of gradient) tell of, where they are not 0: the
    two-loop recursion."""
    steps, changes = pairs
    products = np.einsum("rmp,rmp->rm", steps, changes)
    inverse = np.divide(1, products, out=np.zeros_like(products), where=products > 0)
    order = [i for i in range(pairs.shape[2]) if inverse[:, i].any()]
    shares = {}
    for i in reversed(order):
        shares[i] = inverse[:, i] * _dots(steps[:, i], vectors)
        vectors = vectors - shares[i][:, None] * changes[:, i]
    squares = _dots(changes[:, -1], changes[:, -1])
    vectors = vectors * np.divide(products[:, -1], squares, out=np.ones_like(squares), where=squares > 0)[:, None]
    for i in order:
        vectors = vectors + (shares[i] - inverse[:, i] * _dots(changes[:, i], vectors))[:, None] * steps[:, i]
    return vectors


def _dots(one: Float[np.ndarray, "r p"], other: Float[np.ndarray, "r p"]) -> Float[np.ndarray, " r"]:
    return np.einsum("rp,rp->r", one, other)
