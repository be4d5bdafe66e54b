"""Published figures in percent, set beside ours: Tables 1-4 of Fast Object Localization via Sensitivity Analysis.

Rows without its name are those that it compares with.
"""

from collections.abc import Collection, Iterator, Mapping

VOC = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
SIX = ("aeroplane", "bicycle", "boat", "bus", "horse", "motorbike")

# Table 1: mean CorLoc over SIX, VOC 2007
TABLE_1 = {
    "Russell et al. 2006": 22.0,
    "Chum & Zisserman 2007": 32.0,
    "Deselaers et al. 2012": 37.0,
    "Tang et al. 2014": 39.0,
    "Sensitivity maps (Fast Object Localization)": 55.0,
}

# Table 2: VOC 2007 test, the mean as printed and each class in the order of VOC (CorLoc of some, precision of others)
TABLE_2 = {
    "Siva et al. 2012": (
        30.2,
        (45.8, 21.8, 30.9, 20.4, 5.3, 37.6, 40.8, 51.6, 7.0, 29.8),
        (27.5, 41.3, 41.8, 47.3, 24.1, 12.2, 28.1, 32.8, 48.7, 9.4),
    ),
    "Shi et al. 2013": (
        36.2,
        (67.3, 54.4, 34.3, 17.8, 1.3, 46.6, 60.7, 68.9, 2.5, 32.4),
        (16.2, 58.9, 51.5, 64.6, 18.2, 3.1, 20.9, 34.7, 63.4, 5.9),
    ),
    "Gokberk Cinbis et al. 2014": (
        38.8,
        (56.6, 58.3, 28.4, 20.7, 6.8, 54.9, 69.1, 20.8, 9.2, 50.5),
        (10.2, 29.0, 58.0, 64.9, 36.7, 18.7, 56.5, 13.2, 54.9, 59.4),
    ),
    "OM, Li et al. 2016": (
        31.8,
        (50.4, 30.0, 34.6, 18.2, 6.2, 39.3, 42.2, 57.3, 10.8, 29.8),
        (20.5, 41.8, 43.2, 51.8, 24.7, 20.8, 29.2, 26.6, 45.6, 12.5),
    ),
    "SP-VGGNet, Zhu et al. 2017": (
        60.6,
        (85.3, 64.2, 67.0, 42.0, 16.4, 71.0, 64.7, 88.7, 20.7, 63.8),
        (58.0, 84.1, 84.7, 80.0, 60.0, 29.4, 56.3, 68.1, 77.4, 30.5),
    ),
    "PBRM, Cho et al. 2015": (
        36.6,
        (50.3, 42.8, 30.0, 18.5, 4.0, 62.3, 64.5, 42.5, 8.6, 49.0),
        (12.2, 44.0, 64.1, 57.2, 15.3, 9.4, 30.9, 34.0, 61.6, 31.5),
    ),
    "Sensitivity maps (Fast Object Localization)": (
        40.1,
        (63.8, 55.1, 41.2, 23.3, 34.2, 58.6, 72.7, 36.9, 23.3, 49.7),
        (11.5, 29.6, 50.1, 65.9, 11.8, 42.2, 39.7, 18.1, 51.0, 41.2),
    ),
}

# Table 3: mean over VOC of a heuristic on its maps (smooth, brightest 20%, tight box); the widths are not given
TABLE_3 = {
    "Heuristic, 1st width (Fast Object Localization)": 27.2,
    "Heuristic, 2nd width (Fast Object Localization)": 38.4,
    "Heuristic, 3rd width (Fast Object Localization)": 32.5,
}

# Table 4: mean CorLoc on ImageNet, 478 classes
TABLE_4 = {
    "Constant centre box": 12.34,
    "Top objectness box (Tang et al. 2014)": 37.42,
    "Co-localization (Tang et al. 2014)": 53.20,
    "Sensitivity maps (Fast Object Localization)": 68.76,
}


def published_rows(protocol: str, labels: Collection[str]) -> Iterator[tuple[str, float, Mapping[str, float]]]:
    """Name, mean and classes of what was printed for these classes by this protocol."""
    if protocol == "paper-voc07" and set(labels) == set(VOC):
        for name, (mean, first, second) in TABLE_2.items():
            yield name, mean, dict(zip(VOC, (*first, *second)))
        yield from ((name, mean, {}) for name, mean in TABLE_3.items())
    if protocol == "paper-voc07" and set(labels) == set(SIX):
        yield from ((name, mean, {}) for name, mean in TABLE_1.items())
    if protocol == "paper-imagenet":
        yield from ((name, mean, {}) for name, mean in TABLE_4.items())
