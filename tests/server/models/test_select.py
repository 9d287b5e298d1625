"""The choice of the model by `--model`."""

from pathlib import Path

import pytest
from stylewire_server.models.network import WeightsError
from stylewire_server.models.select import open_network


def test_auto_is_lite_until_the_full_model_is_there(converted: Path, tmp_path: Path) -> None:
    assert open_network("auto", tmp_path).edition == "lite"
    (tmp_path / "full").symlink_to(converted)
    assert open_network("auto", tmp_path).edition == "full"
    assert open_network("lite", tmp_path).edition == "lite"


def test_full_without_it_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="get it: python -m stylewire_server fetch"):
        open_network("full", tmp_path)


def test_a_folder_is_an_edition_of_its_own_name(converted: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.symlink_to(converted)
    network = open_network(str(converted), tmp_path)
    assert (network.edition, network.style_dimension, network.verified) == (converted.name, 768, False)


def test_a_folder_with_nothing_in_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"has no manifest\.json"):
        open_network(str(tmp_path), tmp_path)


def test_damage_does_not_pass_for_absence(converted: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "manifest.json").write_text((converted / "manifest.json").read_text())
    with pytest.raises(WeightsError, match="bytes, expected"):
        open_network("auto", tmp_path)
