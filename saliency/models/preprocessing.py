"""From photos to a network's input, and where each pixel went.

Photos are uint8 `[h, w, 3]` RGB. What comes out is float32 `[n, H, W, 3]` in the network's own normalised
space. The recipe belongs to a checkpoint, is stored with it and recorded in every result.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

import numpy as np
from PIL import Image

from saliency._checks import described, number, one_of, whole
from saliency.errors import InputError
from saliency.photos import as_photo

if TYPE_CHECKING:
    from jax import Array

Pixels = TypeVar("Pixels", np.ndarray, "Array")
Photo = np.ndarray | Image.Image | Path | str
Photos = Photo | Iterable[Photo]
Mode = Literal["stretch", "crop", "letterbox"]
Order = Literal["rgb", "bgr"]
Interpolation = Literal["bilinear", "bicubic"]
MAX_SIDE = 4096  # of an input that a file asks for
MAX_PIXELS = 50_000_000  # of a resized photo, before the crop


@dataclass(frozen=True)
class Placement:
    """Where a photo landed in the network's input: `input = photo * (sx, sy) + (dx, dy)`, in pixel edges.

    `photo` and `input` are (height, width).
    """

    photo: tuple[int, int]
    input: tuple[int, int]
    scale: tuple[float, float]  # x, y
    offset: tuple[float, float]  # x, y


@dataclass(frozen=True)
class Preprocessing:
    """How photos become input.

    `mode`: "stretch" to `size`; "crop": the shorter side to `shorter`, then the centre; "letterbox": fitted inside, the
    rest filled with the mean colour. `size` is (height, width). Channels are `order`ed, multiplied by `scale`,
    then `mean` (in that order and scale) is subtracted and `std` divided by. Resizing is antialiased, as Pillow and
    torchvision do it. Raises InputError for other values.

    >>> import numpy as np
    >>> entry = Preprocessing((8, 8), mode="letterbox")
    >>> entry(np.zeros((4, 6, 3), np.uint8)).shape, entry.placement((4, 6)).scale
    ((1, 8, 8, 3), (1.3333333333333333, 1.25))
    """

    size: tuple[int, int]
    mode: Mode = "crop"
    shorter: int | None = None
    order: Order = "rgb"
    scale: float = 1 / 255
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    interpolation: Interpolation = "bilinear"

    def __post_init__(self) -> None:
        one_of("mode", self.mode, get_args(Mode))
        one_of("order", self.order, get_args(Order))
        one_of("interpolation", self.interpolation, get_args(Interpolation))
        number("scale", self.scale, above=0)
        for name, values, above in (("mean", self.mean, -np.inf), ("std", self.std, 0)):
            if not isinstance(values, tuple | list) or not values:
                raise InputError(f"{name} must be numbers, one a channel (three of colour), not {described(values)}")
            for value in values:
                number(name, value, above=above)
        if len(self.mean) != len(self.std):
            raise InputError(
                f"mean must be one number a channel (three of colour), as std: they are {len(self.mean)} and"
                f" {len(self.std)}"
            )
        if not isinstance(self.size, tuple | list) or len(self.size) != 2:
            raise InputError(f"size must be (height, width), not {described(self.size)}")
        for side in self.size:
            whole("size", side, least=1)
        whole("shorter", self.shorter, optional=True)
        if self.shorter is not None and self.shorter < max(self.size):
            raise InputError(
                f"a crop of {self.size[0]}x{self.size[1]} needs a shorter side that holds it, not {self.shorter}"
            )

    def __call__(self, photos: Photos) -> np.ndarray:
        """Photos -> float32 `[n, H, W, 3]` in the network's space; `[n, H, W, c]` where `mean` has c channels.

        A photo is uint8 `[h, w, 3]` RGB, a Pillow image of any mode or a path; `photos` are several, of any sizes, in a
        list or an array `[n, h, w, 3]`, or a single one. Raises InputError for anything else, and for a file that
        cannot be read. For one channel photos are made grey; for other numbers than 1 and 3 images are uint8 arrays
        `[h, w, c]`.
        """
        if isinstance(photos, str | Path | Image.Image):
            photos = [photos]
        if isinstance(photos, Mapping) or not isinstance(photos, Iterable):
            raise InputError(f"photos must be a list of photos, or uint8 [n, h, w, 3], not {described(photos)}")
        if isinstance(photos, np.ndarray) and photos.ndim == 3:
            photos = photos[None]
        placed = np.array([self.place(photo) for photo in photos], np.uint8)
        return self.normalise(placed.reshape(-1, *self.size, self.channels))

    @property
    def channels(self) -> int:
        return len(self.mean)

    def place(self, photo: Photo) -> np.ndarray:
        """One photo, resized and cropped to uint8 `[H, W, channels]`."""
        if self.channels == 3:
            return np.asarray(self._placed(Image.fromarray(as_photo(photo)), self._padding()))
        if self.channels == 1:
            photo = photo if isinstance(photo, np.ndarray) and photo.shape[2:] == (1,) else _grey(photo)
        planes = np.asarray(photo)
        if planes.ndim != 3 or planes.shape[-1] != self.channels or planes.dtype != np.uint8 or 0 in planes.shape:
            raise InputError(f"an image must be uint8 [h, w, {self.channels}], not {planes.dtype} {list(planes.shape)}")
        fills = self._padding()
        placed = (self._placed(Image.fromarray(planes[..., i]), fills[i]) for i in range(self.channels))
        return np.stack([np.asarray(plane) for plane in placed], -1)

    def _padding(self) -> tuple[int, ...]:
        """What surrounds a letterboxed photo: the mean colour."""
        return tuple(round(float(v)) for v in self.pixels(np.zeros(self.channels)))

    def _placed(self, image: Image.Image, fill: int | tuple[int, ...]) -> Image.Image:
        photo = image.size[::-1]
        height, width = self._resized(photo)
        resampling = Image.Resampling[self.interpolation.upper()]
        left, top = self._corner((height, width))
        if height * width > MAX_PIXELS:  # a photo that is hardly more than a line: only what the crop shows is resized
            x, y = photo[1] / width, photo[0] / height
            shown = (left * x, top * y, (left + self.size[1]) * x, (top + self.size[0]) * y)
            return image.resize(self.size[::-1], resampling, shown)
        if (height, width) != photo:
            image = image.resize((width, height), resampling)
        if self.mode == "letterbox":
            canvas = Image.new(image.mode, self.size[::-1], fill)
            canvas.paste(image, (-left, -top))
            return canvas
        return image.crop((left, top, left + self.size[1], top + self.size[0]))

    def placement(self, photo: tuple[int, int]) -> Placement:
        """Where a photo of (height, width) lands."""
        height, width = self._resized(photo)
        left, top = self._corner((height, width))
        return Placement(photo, self.size, (width / photo[1], height / photo[0]), (float(-left), float(-top)))

    def normalise(self, pixels: Pixels) -> Pixels:
        """Pixels 0..255 RGB `[..., 3]` to the network's space; anything stated in pixels (a fill) goes this way too."""
        if isinstance(pixels, np.ndarray) and pixels.ndim > 3 and len(pixels):  # an image at a time stays in the cache
            normalised = np.empty(pixels.shape, np.float32)
            for one, image in zip(normalised, pixels):
                one[:] = self.normalise(image)
            return normalised
        pixels = pixels.astype(np.float32)
        if self.order == "bgr":
            pixels = pixels[..., ::-1]
        mean, std = self._channel_values(pixels)
        return (pixels * np.float32(self.scale) - mean) / std

    def pixels(self, x: Pixels) -> Pixels:
        """The way back: float `[..., 3]` in 0..255, RGB."""
        mean, std = self._channel_values(x)
        x = (x * std + mean) / np.float32(self.scale)
        return x[..., ::-1] if self.order == "bgr" else x

    def _channel_values(self, x: Pixels) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation of each channel, with as many axes as `x`; of NumPy's arrays for a whole line, for it goes
        through what is broadcast along the last axis three numbers at a time."""
        width = x.shape[-2] if isinstance(x, np.ndarray) and x.ndim > 1 else 1
        times = [*[1] * (x.ndim - 2), width, 1][-x.ndim :]
        mean, std = (np.tile(np.asarray(one, np.float32), times) for one in (self.mean, self.std))
        return mean, std

    def _resized(self, photo: tuple[int, int]) -> tuple[int, int]:
        """Photo (height, width) after resizing, before the crop."""
        height, width = photo
        if self.mode == "stretch":
            return self.size
        if self.mode == "letterbox":
            factor = min(self.size[0] / height, self.size[1] / width)
            return max(1, round(height * factor)), max(1, round(width * factor))
        shorter = self.shorter or max(self.size)
        # torchvision's Resize truncates the longer side
        if height <= width:
            return shorter, max(shorter, int(shorter * width / height))
        return max(shorter, int(shorter * height / width)), shorter

    def _corner(self, resized: tuple[int, int]) -> tuple[int, int]:
        """Left and top of the input within the resized photo; negative for a letterbox."""
        # torchvision's CenterCrop rounds half to even
        return round((resized[1] - self.size[1]) / 2), round((resized[0] - self.size[0]) / 2)

    def changed(self, mode: Mode | None = None, side: int | None = None) -> "Preprocessing":
        """The same with another mode, or with a square input of `side` pixels; a crop keeps its share of the photo."""
        size = self.size if side is None else (side, side)
        shorter = self.shorter and round(self.shorter * min(size) / min(self.size))
        mode = mode or self.mode
        return replace(self, mode=mode, size=size, shorter=shorter if mode == "crop" else None)

    def sized(self, size: tuple[int, int]) -> "Preprocessing":
        """The same for another (height, width); a crop keeps its share of the photo's shorter side."""
        shorter = self.shorter and max(*size, round(self.shorter * min(size) / min(self.size)))
        return replace(self, size=size, shorter=shorter)

    def seen(self, photo: tuple[int, int]) -> float:
        """The share of a photo of (height, width) that is in the input: 1 but for a crop."""
        placed, share = self.placement(photo), 1.0
        for axis, side in ((0, photo[1]), (1, photo[0])):
            first, last = ((edge - placed.offset[axis]) / placed.scale[axis] for edge in (0, placed.input[1 - axis]))
            share *= (min(side, last) - max(0, first)) / side
        return share

    def summary(self, photos: Iterable[tuple[int, int]]) -> str:
        """One sentence for a page: how photos of these (height, width) enter, and what is cut away of them."""
        size = f"{self.size[1]} x {self.size[0]} px"
        if self.mode == "stretch":
            return f"Photos are stretched to {size}: nothing is cut away."
        if self.mode == "letterbox":
            return f"Photos are fitted into {size}, the rest is filled: nothing is cut away."
        lost = [100 * (1 - self.seen(photo)) for photo in photos]
        said = f", {np.mean(lost):.0f}% of a photo is cut away on average, {max(lost):.0f}% at most" if lost else ""
        shorter = self.shorter or max(self.size)
        return f"Photos are scaled to a shorter side of {shorter} px and cropped to the centre's {size}{said}."

    def record(self) -> dict[str, object]:
        return asdict(self)


def _grey(photo: Photo) -> np.ndarray:
    """A photo's luma, uint8 `[h, w, 1]`."""
    return np.asarray(Image.fromarray(as_photo(photo)).convert("L"))[..., None]


AS_IT_IS = Preprocessing((1, 1), scale=1.0, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))  # the input holds pixels


def from_record(record: Mapping[str, Any]) -> Preprocessing:
    """The inverse of `Preprocessing.record`, as read from JSON; InputError where it is not one."""
    try:
        fields: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in record.items()
        }
        preprocess = Preprocessing(**fields)
    except (AttributeError, TypeError) as error:
        raise InputError(f"this is no preprocessing: {error}") from error
    if max(*preprocess.size, preprocess.shorter or 0) > MAX_SIDE:
        raise InputError(f"this is no preprocessing: its sides must be at most {MAX_SIDE} px")
    return preprocess
