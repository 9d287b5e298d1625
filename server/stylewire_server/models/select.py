"""The choice of the network that is served."""

from pathlib import Path

from .full import FOLDER, MANIFEST, full
from .lite import lite
from .network import Network


def open_network(model: str, cache: Path) -> Network:
    """Return the network that `--model` names.

    Args:
        model: "full", "lite", "auto" (full if it has been fetched, else lite), or a converted folder.
        cache: Parent of the folder of the full model.

    Raises:
        WeightsError: The model does not exist or cannot be used.
    """
    if model == "auto":
        model = "full" if (cache / FOLDER / MANIFEST).is_file() else "lite"
    if model == "lite":
        return lite()
    if model == "full":
        return full(cache / FOLDER)
    folder = Path(model).expanduser().resolve()
    return full(folder, edition=folder.name)
