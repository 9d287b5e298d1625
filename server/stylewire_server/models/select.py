"""Which network is served."""

from pathlib import Path

from .full import FOLDER, MANIFEST, full
from .lite import lite
from .network import Network


def open_network(model: str, cache: Path) -> Network:
    """The network that `--model` names.

    Args:
        model: "full", "lite", "auto" (full where it has been fetched, else lite), or a converted folder.
        cache: Where fetching leaves the full model.

    Raises:
        WeightsError: It is not there, or cannot be used.
    """
    if model == "auto":
        model = "full" if (cache / FOLDER / MANIFEST).is_file() else "lite"
    if model == "lite":
        return lite()
    if model == "full":
        return full(cache / FOLDER)
    folder = Path(model).expanduser().resolve()
    return full(folder, edition=folder.name)
