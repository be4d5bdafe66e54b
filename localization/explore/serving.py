"""From a network and photos to a page on this machine alone."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from localization.datasets import Dataset
from localization.datasets.names import inside
from localization.explore.session import Session
from saliency._checks import kind_of
from saliency.errors import InputError
from saliency.models.network import Network


def only_inside(data: Dataset, folder: Path) -> Dataset:
    """Without the photos that are links out of their folder: what is not in it is not shown."""
    kept = []
    for i, annotation in enumerate(data.annotations):
        with suppress(InputError):
            inside(folder, annotation.source)
            kept.append(i)
    return data.select(kept)


def serve(net: Network, data: Dataset, announce: Callable[[str], object] = print) -> None:
    """Serve the live page until it is interrupted (Ctrl-C); `announce` is told its address.

    The address is 127.0.0.1 with a random port and a token that only who started it knows: no other machine can
    reach it, and no other site that a browser has open. Nothing is written to disk. Raises InputError where the
    extra `explore` is not installed, and for what is no network or data set.
    """
    kind_of("net", net, Network, "as load_network gives it")
    kind_of("data", data, Dataset, "as localization.load gives it")
    if not len(data):
        raise InputError("data holds no photo that can be read")
    try:
        from localization.explore.server import start
    except ModuleNotFoundError as error:
        raise InputError(f"the live page needs {error.name}: pip install 'salbox[explore]'") from None
    session = Session(net, data)
    server = start(session)
    announce(server.url)
    try:
        while server.thread.is_alive():
            server.thread.join(0.5)
    except KeyboardInterrupt:
        pass
    finally:
        server.stop()
        session.close()
