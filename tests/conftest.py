"""What tests share: folders of real data, random numbers, and arithmetic that promotes nothing unasked."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

# Compiled programs are shared by the workers of a run, the scripts they start, and the next run.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".jax_cache"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "0")
# Programs run once or twice here, and to optimise them took half of the suite's time; nor is there anything to gain by
# compiling small ones in 32 parts. `make real` runs what users run.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1")

import jax
from jax._src import compilation_cache as jax_cache
from jaxtyping import install_import_hook
from PIL import Image

import tests.typechecking  # the hook names it, and looks no module up  # noqa: F401

# The modules whose signatures are held to, at every call: hooked before the first import of either package.
# Readers, comparison, evaluation and the other reports, and fitting over stores are not here.
HOOKED = (
    "localization.boxes",
    "localization.features",
    "localization.heuristics",
    "localization.maxboxacc",
    "localization.metrics",
    "localization.regression.cells",
    "localization.regression.correction",
    "localization.regression.flip_equivariant",
    "localization.regression.in_memory_fit",
    "localization.regression.lad",
    "localization.regression.linear_map",
    "localization.regression.moments",
    "localization.regression.overlap",
    "localization.regression.ridge",
    "localization.regression.rows",
    "localization.regression.solution",
    "localization.statistics",
    "localization.store",
    "saliency.faithfulness.pairs",
    "saliency.faithfulness.complexity",
    "saliency.faithfulness.explanation_maps",
    "saliency.faithfulness.curves",
    "saliency.faithfulness.information",
    "saliency.faithfulness.perturbations",
    "saliency.faithfulness.randomisation",
    "saliency.faithfulness.regions",
    "saliency.faithfulness.imputation",
    "saliency.faithfulness.nearby",
    "saliency.maps.black_box",
    "saliency.maps.controls",
    "saliency.maps.perturbation",
    "saliency.maps.ranks",
    "saliency.maps.status",
    "saliency.occlusion.dense",
    "saliency.robustness.augment",
    "saliency.robustness.calibration",
    "saliency.robustness.masks",
    "saliency.zeiler_fergus.interactions",
    "saliency.zeiler_fergus.regions",
    "saliency.zeiler_fergus.sweep",
)
# These as a whole where the unit tests run, all of which were seen under the hook (SALBOX_CHECKED=few: those above).
if os.environ.get("SALBOX_CHECKED") != "few":
    HOOKED += (
        "saliency.faithfulness",
        "saliency.gallery",
        "saliency.maps",
        "saliency.models",
        "saliency.occlusion",
        "saliency.pictures",
        "saliency.robustness",
        "saliency.scores",
        "saliency.wrappers",
        "saliency.zeiler_fergus",
    )
install_import_hook(HOOKED, "tests.typechecking.checked")

# Python's collector goes through a heap of a million objects again and again: a tenth of the suite's time.
gc.set_threshold(50_000, 20, 50)

# The maps' arithmetic: no float64 where float32 was meant.
STRICT = ("attribution", "cam", "controls", "gradient", "inputs", "methods", "occlusion", "perturbation", "scores")

# Where coverage is one part of many: its search for the best cells, tried in tests/test_coverage.py, takes compiling.
GIVEN_CELLS = ("comparison", "comparison_networks", "evaluate", "fit_boxes", "doors", "bad_arguments")


def pytest_collection_finish() -> None:
    """What has been imported stays: the collector need not look at it."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def given_cells(request: pytest.FixtureRequest) -> Iterator[None]:
    """Coverage takes its default cells, and of several arrays all."""
    if request.module.__name__.rpartition("test_")[2] not in GIVEN_CELLS:
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("localization.regression.coverage._steps", lambda shapes: [])
        yield


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real weights and photos; tests that need it skip without it."""
    folder = os.environ.get("SALBOX_SHARED")
    if not folder or not Path(folder).is_dir():
        pytest.skip("SALBOX_SHARED does not name a folder with real weights and photos")
    return Path(folder)


@pytest.fixture
def composed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are composed and not drawn, for tests that read a page's words; one marked `drawn` draws them all."""
    if request.node.get_closest_marker("drawn") is None:
        from matplotlib.figure import Figure

        monkeypatch.setattr(Figure, "savefig", lambda self, file, **_: Image.new("RGB", (40, 30)).save(file, "PNG"))


@pytest.fixture(scope="module")
def regions_once() -> Iterator[None]:
    """XRAI asks for the regions of the same photo at every call: they are found once, as nothing here hangs on it."""
    from saliency.maps import xrai

    found: dict[tuple, np.ndarray] = {}

    def once(image: np.ndarray, *settings: float) -> np.ndarray:
        key = image.tobytes(), image.shape, *settings
        if key not in found:
            found[key] = real(image, *settings)
        return found[key]

    real = xrai.felzenszwalb
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(xrai, "felzenszwalb", once)
        yield


@pytest.fixture(scope="module", autouse=True)
def strict(request: pytest.FixtureRequest) -> Iterator[None]:
    """JAX refuses to mix precisions, and arrays of another number of axes."""
    name = request.module.__name__
    if name.rpartition("test_")[2] not in STRICT:
        yield
        return
    wanted = {"jax_numpy_dtype_promotion": "strict"}
    if name.startswith("tests.test_"):  # other libraries' oracles promote ranks
        wanted["jax_numpy_rank_promotion"] = "raise"
    before = {name: getattr(jax.config, name) for name in wanted}
    for name, value in wanted.items():
        jax.config.update(name, value)
    yield
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.fixture
def settings() -> Iterator[None]:
    """JAX's settings as they were; the tests' own cache is not asked for."""
    names = ("compilation_cache_dir", "persistent_cache_min_compile_time_secs", "persistent_cache_min_entry_size_bytes")
    before = {f"jax_{name}": getattr(jax.config, f"jax_{name}") for name in names}
    jax.config.update("jax_compilation_cache_dir", None)
    yield
    jax_cache.reset_cache()
    for name, value in before.items():
        jax.config.update(name, value)
