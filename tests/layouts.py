"""The same photos with boxes in every layout that a reader knows, each in its own words and numbers."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tests.devkits import voc_object, voc_xml, write_text

METHODS = {  # what EXIF's orientation asks for, and what undoes it
    2: ("FLIP_LEFT_RIGHT", "FLIP_LEFT_RIGHT"),
    3: ("ROTATE_180", "ROTATE_180"),
    4: ("FLIP_TOP_BOTTOM", "FLIP_TOP_BOTTOM"),
    5: ("TRANSPOSE", "TRANSPOSE"),
    6: ("ROTATE_270", "ROTATE_90"),
    7: ("TRANSVERSE", "TRANSVERSE"),
    8: ("ROTATE_90", "ROTATE_270"),
}


@dataclass(frozen=True)
class Photo:
    """A dark photo of (height, width) with one bright box, in whole pixels, that is annotated at `scale` times its
    size. With `upright`, size and box are those of the photo as EXIF turns it, else as it is stored."""

    name: str
    box: tuple[int, int, int, int]
    size: tuple[int, int] = (30, 40)
    orientation: int = 1
    upright: bool = False
    scale: int = 1
    label: str = "n01"

    @property
    def stated(self) -> tuple[int, int]:
        return self.size[0] * self.scale, self.size[1] * self.scale

    @property
    def edges(self) -> list[int]:
        """The box as it is annotated."""
        return [side * self.scale for side in self.box]


def paint(path: Path, photo: Photo) -> None:
    """As PNG, whatever the name says."""
    x0, y0, x1, y1 = photo.box
    pixels = np.zeros((*photo.size, 3), np.uint8)
    pixels[y0:y1, x0:x1] = 255
    image = Image.fromarray(pixels)
    exif = Image.Exif()
    if photo.orientation > 1:
        exif[0x0112] = photo.orientation
        if photo.upright:
            image = image.transpose(Image.Transpose[METHODS[photo.orientation][1]])
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, "PNG", exif=exif)


def bright(image: np.ndarray, box: Sequence[float]) -> bool:
    """Whether a box is exactly what is bright in a photo."""
    x0, y0, x1, y1 = (round(side) for side in box)
    mask = np.zeros(image.shape[:2], bool)
    mask[y0:y1, x0:x1] = True
    return bool(((image > 128).all(-1) == mask).all())


def _inclusive(photo: Photo, first: int) -> list[int]:
    x0, y0, x1, y1 = photo.edges
    return [x0 + first, y0 + first, x1 - 1 + first, y1 - 1 + first]


def _xml(photo: Photo, filename: str = "") -> str:
    return voc_xml([voc_object(photo.label, _inclusive(photo, 1))], photo.stated, filename)


def voc(root: Path, photos: Sequence[Photo]) -> None:
    for photo in photos:
        paint(root / "JPEGImages" / f"{photo.name}.png", photo)
        write_text(root / "Annotations" / f"{photo.name}.xml", _xml(photo, f"{photo.name}.png"))
    write_text(root / "ImageSets" / "Main" / "trainval.txt", "".join(f"{photo.name}\n" for photo in photos))


def beside(root: Path, photos: Sequence[Photo]) -> None:
    for photo in photos:
        paint(root / "train" / f"{photo.name}.png", photo)
        write_text(root / "train" / f"{photo.name}.xml", _xml(photo))


def imagenet(root: Path, photos: Sequence[Photo]) -> None:
    for photo in photos:
        paint(root / "Data" / "CLS-LOC" / "val" / f"{photo.name}.JPEG", photo)
        write_text(root / "Annotations" / "CLS-LOC" / "val" / f"{photo.name}.xml", _xml(photo, photo.name))
    write_text(root / "ImageSets" / "CLS-LOC" / "val.txt", "".join(f"{p.name} {i}\n" for i, p in enumerate(photos, 1)))


def kaggle(root: Path, photos: Sequence[Photo]) -> None:
    rows = ["ImageId,PredictionString\n"]
    for photo in photos:
        paint(root / "Data" / "CLS-LOC" / "val" / f"{photo.name}.JPEG", photo)
        rows.append(f"{photo.name},{photo.label} {' '.join(map(str, _inclusive(photo, 1)))} \n")
    write_text(root / "LOC_val_solution.csv", "".join(rows))


def tiny_imagenet(root: Path, photos: Sequence[Photo]) -> None:
    rows = []
    for photo in photos:
        paint(root / "val" / "images" / f"{photo.name}.JPEG", photo)
        rows.append("\t".join(map(str, (f"{photo.name}.JPEG", photo.label, *_inclusive(photo, 0)))) + "\n")
    write_text(root / "val" / "val_annotations.txt", "".join(rows))


def instances(photos: Sequence[Photo]) -> dict:
    def entry(number: int, photo: Photo) -> dict:
        height, width = photo.stated
        return {"id": number, "file_name": f"{photo.name}.png", "height": height, "width": width}

    def annotation(number: int, photo: Photo) -> dict:
        x0, y0, x1, y1 = photo.edges
        return {"id": number, "image_id": number, "category_id": 1, "bbox": [x0, y0, x1 - x0, y1 - y0], "iscrowd": 0}

    return {
        "images": [entry(number, photo) for number, photo in enumerate(photos)],
        "annotations": [annotation(number, photo) for number, photo in enumerate(photos)],
        "categories": [{"id": 1, "name": "n01"}],
    }


def coco(root: Path, photos: Sequence[Photo]) -> None:
    for photo in photos:
        paint(root / "val2017" / f"{photo.name}.png", photo)
    write_text(root / "annotations" / "instances_val2017.json", json.dumps(instances(photos)))


def roboflow(root: Path, photos: Sequence[Photo]) -> None:
    for photo in photos:
        paint(root / "valid" / f"{photo.name}.png", photo)
    write_text(root / "valid" / "_annotations.coco.json", json.dumps(instances(photos)))


def wsol(root: Path, photos: Sequence[Photo]) -> None:
    lines: dict[str, list[str]] = {"image_ids": [], "class_labels": [], "image_sizes": [], "localization": []}
    for photo in photos:
        source = f"x/{photo.name}.png"
        paint(root / "dataset" / "CUB" / source, photo)
        lines["image_ids"].append(source)
        lines["class_labels"].append(f"{source},{photo.label}")
        lines["image_sizes"].append(f"{source},{photo.stated[1]},{photo.stated[0]}")
        lines["localization"].append(",".join(map(str, (source, *_inclusive(photo, 0)))))
    for name, rows in lines.items():
        write_text(root / "metadata" / "CUB" / "test" / f"{name}.txt", "".join(f"{row}\n" for row in rows))


def folder(root: Path, photos: Sequence[Photo]) -> None:
    rows = ["file,x0,y0,x1,y1,label,width,height\n"]
    for photo in photos:
        paint(root / f"{photo.name}.png", photo)
        height, width = photo.stated
        rows.append(",".join(map(str, (f"{photo.name}.png", *photo.edges, photo.label, width, height))) + "\n")
    write_text(root / "boxes.csv", "".join(rows))


@dataclass(frozen=True)
class Layout:
    """`reader` is `load`'s name of it, `write` makes it; `lists` are the files that name photos, with the lines before
    the first one; `stated` says whether it states sizes; `exif` what it does where nothing says how a photo lies."""

    reader: str
    write: Callable[[Path, Sequence[Photo]], None]
    lists: tuple[tuple[str, int], ...]
    stated: bool = True
    exif: bool = False


LAYOUTS = {
    "voc": Layout("voc", voc, (("ImageSets/Main/trainval.txt", 0),)),
    "XML beside photos": Layout("voc", beside, ()),
    "imagenet": Layout("imagenet", imagenet, (("ImageSets/CLS-LOC/val.txt", 0),)),
    "kaggle": Layout("imagenet", kaggle, (("LOC_val_solution.csv", 1),), stated=False),
    "tiny_imagenet": Layout("tiny_imagenet", tiny_imagenet, (("val/val_annotations.txt", 0),), stated=False),
    "coco": Layout("coco", coco, (("annotations/instances_val2017.json", 0),)),
    "roboflow": Layout("coco", roboflow, (("valid/_annotations.coco.json", 0),)),
    "wsol": Layout(
        "wsol",
        wsol,
        tuple(
            (f"metadata/CUB/test/{name}.txt", 0)
            for name in ("image_ids", "class_labels", "image_sizes", "localization")
        ),
    ),
    "folder": Layout("folder", folder, (("boxes.csv", 1),), exif=True),
}
