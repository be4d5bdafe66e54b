"""All that a comparison can name, in words for a terminal."""

from localization.channels import READERS
from saliency.methods import by_family
from saliency.wrappers import said_of_wrappers


def listing() -> str:
    """Every method with its source, sign and summary, family by family; the wrappers; and the readers."""
    parts = []
    for family, own in by_family().items():
        parts += [f"== {family} ==", *(f"{m.name}  [{m.source}; {m.sign}]\n{m.summary}" for m in own)]
    parts += ["== wrapper: WRAPPER(METHOD), in quotes on a command line ==", "\n".join(said_of_wrappers())]
    parts += ["== reader ==", *(f"{r.name}  [{r.source}]\n{r.summary}" for r in READERS.values())]
    return "\n\n".join(parts)
