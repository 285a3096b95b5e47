"""Files are private from the start, and a damaged one goes aside together with its companions."""

from pathlib import Path

import pytest

from intercomd.flash.files import UnreadableError, make_file, set_aside


def test_a_new_file_and_its_directory_are_private(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "state"
    make_file(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_wider_modes_are_taken_down_and_the_content_stays(tmp_path: Path) -> None:
    path = tmp_path / "state"
    path.write_bytes(b"x")
    path.chmod(0o664)
    make_file(path)
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"x", 0o600)


def test_a_directory_in_its_place_can_be_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "state"
    path.mkdir()
    with pytest.raises(UnreadableError, match="directory"):
        make_file(path)
    set_aside(path, (), keep=3)
    make_file(path)
    assert path.is_file()


def test_companions_go_with_the_file(tmp_path: Path) -> None:
    """A WAL that stayed behind would be replayed into the new file."""
    path = tmp_path / "state"
    for suffix in ("", "-wal"):
        Path(f"{path}{suffix}").write_text(suffix)
    place = set_aside(path, ("-wal", "-shm"), keep=3)
    assert place.name == "state.bad-1"
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {
        "state.bad-1": "",
        "state.bad-1-wal": "-wal",
    }


def test_only_the_newest_are_kept_and_their_companions_go_too(tmp_path: Path) -> None:
    path = tmp_path / "state"
    for number in range(12):
        path.write_text(str(number))
        Path(f"{path}-wal").touch()
        set_aside(path, ("-wal",), keep=3)
    names = sorted(file.name for file in tmp_path.iterdir())
    assert names == [f"state.bad-{number}{suffix}" for number in (10, 11, 12) for suffix in ("", "-wal")]
    assert (tmp_path / "state.bad-12").read_text() == "11"
