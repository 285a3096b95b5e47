"""What is published of a card: each of its files says the truth about the others, and a lie is found."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from hw.image.packing import FAST_LEVEL, Published, pack, wrong

pytestmark = pytest.mark.skipif(shutil.which("xz") is None, reason="needs xz (xz-utils)")
IMAGER_NEEDS = {
    "name": str, "description": str, "icon": str, "url": str, "extract_size": int, "extract_sha256": str,
    "image_download_size": int, "release_date": str, "devices": list,
}  # fmt: skip
"""As raspberrypi/rpi-imager's os-list-schema.json demands them."""


@pytest.fixture(name="made")
def _made(tmp_path: Path) -> Published:
    made = Published(tmp_path / "intercomd-0-arm64.img")
    made.raw.write_bytes(b"a card" + bytes(1 << 20))
    pack(made, FAST_LEVEL)
    return made


def _entry(made: Published) -> dict[str, object]:
    entry: dict[str, object] = json.loads(made.listed.read_text())["os_list"][0]
    return entry


def _tell(made: Published, **changed: object) -> None:
    made.listed.write_text(json.dumps({"os_list": [_entry(made) | changed]}))


def test_what_is_published_is_true(made: Published) -> None:
    assert wrong(made) == []
    subprocess.run(["sha256sum", "--check", "--quiet", made.checksum.name], cwd=made.raw.parent, check=True, timeout=30)


def test_imager_is_told_all_that_it_asks_for(made: Published) -> None:
    entry = _entry(made)
    assert {key: type(entry[key]) for key in IMAGER_NEEDS} == IMAGER_NEEDS
    assert entry["init_format"] == "none", "Imager's own name and Wi-Fi would have no effect, so it shall not ask"


def test_imager_is_given_a_whole_address(made: Published) -> None:
    assert _entry(made)["url"] == made.packed.as_uri()
    pack(made, FAST_LEVEL, "https://intercom.example/images/")
    assert _entry(made)["url"] == f"https://intercom.example/images/{made.packed.name}"
    assert wrong(made) == []


@pytest.mark.parametrize("key", ["extract_size", "extract_sha256", "image_download_size", "image_download_sha256"])
def test_a_figure_of_another_build_is_found(made: Published, key: str) -> None:
    _tell(made, **{key: 1})
    assert [text for text in wrong(made) if key in text]


def test_another_image_than_the_packed_one_is_found(made: Published) -> None:
    made.raw.write_bytes(b"another card")
    assert wrong(made) == [f"{made.packed.name} is not {made.raw.name}"]


def test_a_checksum_of_another_file_is_found(made: Published) -> None:
    made.checksum.write_text(f"{'0' * 64}  {made.packed.name}\n")
    assert len(wrong(made)) == 1


def test_nothing_of_a_former_build_is_left_when_packing_fails(made: Published) -> None:
    made.raw.unlink()
    with pytest.raises(SystemExit):
        pack(made, FAST_LEVEL)
    assert list(made.raw.parent.iterdir()) == []


def test_a_download_that_is_cut_is_found(made: Published) -> None:
    made.packed.write_bytes(made.packed.read_bytes()[:-20])
    with pytest.raises(SystemExit, match="cannot be unpacked"):
        wrong(made)
