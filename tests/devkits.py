"""Data sets written to disk by tests, in their published layouts, and figures as a devkit computes them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from zlib import crc32

import numpy as np
from PIL import Image


def write_photo(path: Path, size: tuple[int, int], seed: int = 0, mode: str = "RGB", **options) -> None:
    """A photo of (height, width) with large random squares; its format is that of the options, or of the name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    colours = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    image = Image.fromarray(colours).resize(size[::-1], Image.Resampling.NEAREST).convert(mode)
    image.save(path, **({"format": "JPEG"} if path.suffix == ".JPEG" else {}) | options)


def voc_object(name: str, box: Sequence[float], *, difficult: bool = False, truncated: bool = False, extra: str = ""):
    corners = "".join(f"<{tag}>{value}</{tag}>" for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), box))
    flags = f"<truncated>{truncated:d}</truncated><difficult>{difficult:d}</difficult>"
    return f"<object><name>{name}</name>{flags}{extra}<bndbox>{corners}</bndbox></object>"


def voc_xml(objects: Sequence[str], size: tuple[int, int] | None = (60, 80), filename: str = "") -> str:
    stated = f"<size><width>{size[1]}</width><height>{size[0]}</height><depth>3</depth></size>" if size else ""
    return f"<annotation><filename>{filename}</filename>{stated}{''.join(objects)}</annotation>"


def write_voc(folder: Path, objects: Mapping[str, Sequence[str]], size: tuple[int, int] = (60, 80), split="trainval"):
    """Photos of one size with these objects, each another to look at; all in one split."""
    for source, items in objects.items():
        write_photo(folder / "JPEGImages" / f"{source}.jpg", size, crc32(source.encode()))
        write_text(folder / "Annotations" / f"{source}.xml", voc_xml(items, size, f"{source}.jpg"))
    write_text(folder / "ImageSets" / "Main" / f"{split}.txt", "".join(f"{source}\n" for source in objects))


def write_imagenet(root: Path, boxes: Mapping[str, Sequence[float]], size: tuple[int, int] = (40, 50)):
    """Training photos "WNID/WNID_NUMBER" of a CLS-LOC tree, one object each, of one size."""
    for source, box in boxes.items():
        write_photo(root / "Data" / "CLS-LOC" / "train" / f"{source}.JPEG", size, crc32(source.encode()))
        xml = voc_xml([voc_object(source.partition("/")[0], box)], size, source.rpartition("/")[2])
        write_text(root / "Annotations" / "CLS-LOC" / "train" / f"{source}.xml", xml)


def write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def voc_average_precision(found, scores, true, difficult, threshold=0.5, eleven=False) -> float:
    """VOCevaldet.m and VOCap.m of the PASCAL VOC devkit, line by line, but for its pixels' +1; lists a photo.

    Boxes are x0 y0 x1 y1. `eleven`: VOC 2007's mean over the recalls 0, 0.1 ... 1.
    """
    detections = [(s, i, box) for i, own in enumerate(found) for box, s in zip(own, scores[i])]
    detections.sort(key=lambda one: -one[0])
    taken = [[False] * len(own) for own in true]
    npos = sum(not d for own in difficult for d in own)
    tp, fp = [0.0] * len(detections), [0.0] * len(detections)
    for d, (_, i, bb) in enumerate(detections):
        ovmax, jmax = -np.inf, -1
        for j, bbgt in enumerate(true[i]):
            iw = min(bb[2], bbgt[2]) - max(bb[0], bbgt[0])
            ih = min(bb[3], bbgt[3]) - max(bb[1], bbgt[1])
            if iw > 0 and ih > 0:
                ua = (bb[2] - bb[0]) * (bb[3] - bb[1]) + (bbgt[2] - bbgt[0]) * (bbgt[3] - bbgt[1]) - iw * ih
                ov = iw * ih / ua
                if ov > ovmax:
                    ovmax, jmax = ov, j
        if ovmax >= threshold:
            if not difficult[i][jmax]:
                if not taken[i][jmax]:
                    tp[d] = 1.0
                    taken[i][jmax] = True
                else:
                    fp[d] = 1.0
        else:
            fp[d] = 1.0
    tp, fp = np.cumsum(tp), np.cumsum(fp)
    rec, prec = tp / npos, tp / np.maximum(fp + tp, np.finfo(float).eps)
    if eleven:
        return sum(max(prec[rec >= t], default=0.0) for t in np.arange(11) / 10) / 11
    mrec, mpre = [0.0, *rec, 1.0], [0.0, *prec, 0.0]
    for i in reversed(range(len(mpre) - 1)):
        mpre[i] = max(mpre[i], mpre[i + 1])
    return sum((mrec[i] - mrec[i - 1]) * mpre[i] for i in range(1, len(mrec)) if mrec[i] != mrec[i - 1])
