"""The full edition for a benchmark: of the SavedModel that was given, else the real graph with random weights."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from common import ROOT

GENERATOR = ROOT.parent / "shared" / "models" / "make_random_savedmodel.py"


@dataclass(frozen=True)
class FullEdition:
    """What there is to measure.

    Attributes:
        saved_model: Folder of the SavedModel.
        converted: Folder that `fetch` made of it.
        weights: What they are: as given, or random. Random ones cost the same, and their pictures mean nothing.
    """

    saved_model: Path
    converted: Path
    weights: str


def full_edition(given: Sequence[str], scratch: Path) -> FullEdition | None:
    """Of the SavedModel's folder that is the first of `given`, else of random weights; made in `scratch`.

    None, and says so, where no folder is given and the generator of random weights does not lie beside this checkout.
    """
    from stylewire_server.preparation.fetch import fetch

    if given:
        saved_model, weights = Path(given[0]), "as given"
    elif GENERATOR.is_file():
        saved_model, weights = scratch / "model", "random"
        subprocess.run([sys.executable, str(GENERATOR), str(saved_model)], check=True, stderr=subprocess.DEVNULL)
    else:
        print("the full model is left out: give the folder of its SavedModel")
        return None
    return FullEdition(saved_model, fetch(scratch / "cache", source=saved_model, allow_unverified=True), weights)


def served(flags: Sequence[str], scratch: Path) -> list[str]:
    """The server's flags with `--model random` made true: its folder put in place of the word."""
    if list(flags[:2]) != ["--model", "random"]:
        return list(flags)
    found = full_edition([], scratch)
    if found is None:
        sys.exit("no random weights without their generator: give --model FOLDER")
    return ["--model", str(found.converted), *flags[2:]]
