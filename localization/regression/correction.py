"""A linear correction of the best soft rectangle, fitted to overlap itself, and shrunk to no correction at all.

Boxes are shares of the photo, `[n, s, 4]`: one for each of s readings of a coverage map. The best one's code, (cx -
1/2, cy - 1/2, log w, log h), moves by a linear function of all boxes' corners and log sides. What changes its sign in a
mirrored photo moves cx alone, and what does not change moves the rest, so a mirrored photo gets the mirrored box.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

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
    arrays = *none.parts(boxes), encoded(boxes[:, best]), true
    figures = {np.inf: _figure(none(boxes), true)}
    parts = np.array_split(np.random.default_rng(seed).permutation(len(boxes)), FOLDS)
    for penalty in LAMBDAS if len(boxes) >= 2 * FOLDS else ():
        left_out = np.empty((len(boxes), 4))
        for part in parts:
            rest = np.setdiff1d(np.arange(len(boxes)), part)
            weights = _fit(*(array[rest] for array in arrays), penalty=penalty)
            left_out[part] = decoded(moved(weights, *(array[part] for array in arrays[:3])))
        figures[penalty] = _figure(np.clip(left_out, 0, 1), true)
    penalty = max(figures, key=lambda one: figures[one])
    return none if penalty == np.inf else Correction(best, mean, deviation, _fit(*arrays, penalty=penalty), penalty)


def _figure(boxes: Float[np.ndarray, "n 4"], true: Float[np.ndarray, "n 4"]) -> float:
    overlap = iou(boxes, true)
    return float(overlap.mean() + HITS * (overlap > 0.5).mean())


def even_odd(boxes: Float[np.ndarray, "n s 4"]) -> tuple[Float[np.ndarray, "n d"], Float[np.ndarray, "n d"]]:
    """Corners and log sides of all boxes, d = 6 s: the even and the odd half, whose difference is the mirror's."""
    mirrored = np.stack([1 - boxes[..., 2], boxes[..., 1], 1 - boxes[..., 0], boxes[..., 3]], -1)
    own, flipped = (
        np.concatenate([b, np.log(np.maximum(b[..., 2:] - b[..., :2], LEAST_SIDE))], -1).reshape(len(b), -1)
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


def loss(
    weights: Float[np.ndarray, " p"],
    even: Float[np.ndarray, "n d"],
    odd: Float[np.ndarray, "n d"],
    start: Float[np.ndarray, "n 4"],
    true: Float[np.ndarray, "n 4"],
    penalty: float,
) -> tuple[float, Float[np.ndarray, " p"]]:
    """The mean of -(IoU - 0.2 share of the common hull that neither box covers) - 0.5 sigmoid(12 (IoU - 0.5)), plus the
    penalty times the squared weights without the constants; and its gradient."""
    codes = moved(weights, even, odd, start)
    box = decoded(codes)
    low, high, true_low, true_high = box[:, :2], box[:, 2:], true[:, :2], true[:, 2:]
    common = np.maximum(np.minimum(high, true_high) - np.maximum(low, true_low), 0)
    around = np.maximum(high, true_high) - np.minimum(low, true_low)
    inside, hull = common.prod(1), around.prod(1)
    union = np.maximum((high - low).prod(1) + (true_high - true_low).prod(1) - inside, 1e-6)
    overlap = inside / union
    hit = 1 / (1 + np.exp(-STEEPNESS * (overlap - 0.5)))
    gain = overlap - HULL * (1 - union / hull) + HITS * hit
    value = -gain.mean() + penalty * float((weights[: 4 * even.shape[1]] ** 2).sum())

    # the chain rule from the gain by the three areas to the corners, to the codes, to the weights
    by_overlap = 1 + HITS * STEEPNESS * hit * (1 - hit)
    by_area = -by_overlap * overlap / union + HULL / hull
    by_inside = by_overlap / union - by_area
    by_hull = -HULL * union / hull**2

    def by_side(factor: np.ndarray, sides: np.ndarray) -> np.ndarray:
        return factor[:, None] * sides[:, ::-1]  # the product of two sides, by the one, is the other

    own, shared, outer = by_side(by_area, high - low), by_side(by_inside, common), by_side(by_hull, around)
    meets = common > 0
    by_low = -own - shared * (meets & (low > true_low)) - outer * (low < true_low)
    by_high = own + shared * (meets & (high < true_high)) + outer * (high > true_high)
    by_low *= (low > REACH[0]) & (low < REACH[1])
    by_high *= (high > REACH[0]) & (high < REACH[1])
    logs = codes[:, 2:]
    half = np.exp(np.clip(logs, *LOG_SIDES)) / 2 * ((logs > LOG_SIDES[0]) & (logs < LOG_SIDES[1]))
    by_code = -np.concatenate([by_low + by_high, (by_high - by_low) * half], 1) / len(box)
    gradient = np.concatenate([odd.T @ by_code[:, 0], (even.T @ by_code[:, 1:]).ravel(), by_code[:, 1:].sum(0)])
    gradient[: 4 * even.shape[1]] += 2 * penalty * weights[: 4 * even.shape[1]]
    return value, gradient


def _fit(
    even: np.ndarray, odd: np.ndarray, start: np.ndarray, true: np.ndarray, *, penalty: float
) -> Float[np.ndarray, " p"]:
    zero = np.zeros(4 * even.shape[1] + 3)
    return minimised(lambda weights: loss(weights, even, odd, start, true, penalty), zero)


def minimised(
    function: Callable[[np.ndarray], tuple[float, np.ndarray]],
    start: Float[np.ndarray, " p"],
    steps: int = STEPS,
    memory: int = 10,
) -> Float[np.ndarray, " p"]:
    """L-BFGS (Nocedal 1980) with a backtracking line search, for a function that gives its value and gradient.

    SciPy's takes milliseconds a step for its own small matrices, twenty times what our loss takes.
    """
    at, (value, gradient) = start, function(start)
    pairs: deque[tuple[np.ndarray, np.ndarray]] = deque(maxlen=memory)
    for _ in range(steps):
        direction = -_inverse_hessian(pairs, gradient)
        slope = direction @ gradient
        if slope >= -1e-12:
            break
        rate = 1.0 if pairs else min(1.0, 1 / np.abs(gradient).sum())
        for _ in range(20):
            step = rate * direction
            new_value, new_gradient = function(at + step)
            if new_value <= value + 1e-4 * rate * slope:
                break
            rate /= 2
        else:
            break
        change = new_gradient - gradient
        if step @ change > 1e-10 * np.sqrt((step @ step) * (change @ change)):  # else it bends the wrong way here
            pairs.append((step, change))
        at, value, gradient = at + step, new_value, new_gradient
    return at


def _inverse_hessian(pairs: Sequence[tuple[np.ndarray, np.ndarray]], vector: np.ndarray) -> np.ndarray:
    """The product with the inverse Hessian that these (step, change of gradient) tell of: the two-loop recursion."""
    shares = []
    for step, change in reversed(pairs):
        share = step @ vector / (step @ change)
        vector = vector - share * change
        shares.append(share)
    if pairs:
        step, change = pairs[-1]
        vector = vector * (step @ change / (change @ change))
    for (step, change), share in zip(pairs, reversed(shares)):
        vector = vector + (share - change @ vector / (step @ change)) * step
    return vector
