"""The page's files by their content: names, compression, and what the index refers to."""

import gzip
import re
import shutil
from pathlib import Path

import pytest

from intercomd.hub.web import assets
from intercomd.hub.web.bundle import PageError


def test_a_name_changes_with_the_content_and_with_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "page"
    shutil.copytree(assets.FOLDER, folder)
    first, again = assets.load(folder), assets.load(folder)
    assert first == again
    (folder / "page.css").write_text("body { color: red; }")
    changed = assets.load(folder)
    gone, come = first.files.keys() - changed.files.keys(), changed.files.keys() - first.files.keys()
    assert [path.rpartition("/")[2].split(".")[0] for path in (*gone, *come)] == ["page", "page"]
    assert changed.index.body != first.index.body


def test_everything_that_is_referred_to_is_there() -> None:
    page = assets.load()
    texts = [page.index.body, page.administration.body, *(file.body for file in page.files.values())]
    named = {path.decode() for text in texts for path in re.findall(rb'"(/page/[^"]+)"', text)}
    assert named == page.files.keys()
    assert len(page.files) == 7


def test_the_worker_is_served_as_it_is_and_reads_in_both_languages() -> None:
    page = assets.load()
    assert page.worker.body == (assets.FOLDER / assets.WORKER).read_bytes()
    words = [line for line in page.worker.body.decode().splitlines() if line.startswith(("  en:", "  zh:"))]
    english, chinese = (re.findall(r'(\w+): "', line) for line in words)
    assert english == chinese
    assert len(english) == 4


def test_packed_is_the_same() -> None:
    page = assets.load()
    for file in (page.index, page.administration, page.worker, *page.files.values()):
        assert gzip.decompress(file.packed) == file.body


def test_nothing_is_inline_and_nothing_comes_from_elsewhere() -> None:
    """The content security policy forbids both; this says so before a browser does."""
    page = assets.load()
    for index in (page.index.body.decode(), page.administration.body.decode()):
        assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son\w+=|javascript:", index)
        assert not re.search(r'(?:src|href)="(?!/page/|#)', index)


def test_the_weight_over_the_wire() -> None:
    """Each page by itself: residents' phones load nothing of the administration."""
    page = assets.load()
    theirs = {path for path in page.files if "/admin" in path}
    residents = [file for path, file in page.files.items() if path not in theirs]
    administrators = [file for path, file in page.files.items() if "/main." not in path and "/socket" not in path]
    assert len(page.index.packed) + sum(len(file.packed) for file in residents) <= 60_000
    assert len(page.administration.packed) + sum(len(file.packed) for file in administrators) <= 60_000


def test_the_administration_reads_in_both_languages() -> None:
    """The same keys in both, and each that a module names by itself."""
    sources = ((assets.FOLDER / name).read_text() for name in ("admintexts.js", "admintextszh.js"))
    english, chinese = (re.findall(r'^  "([^"]+)":', source, re.MULTILINE) for source in sources)
    assert english == chinese
    assert len(set(english)) == len(english)
    modules = "".join(path.read_text() for path in assets.FOLDER.glob("admin*.js"))
    named = set(re.findall(r'text\("(admin[^"]+)"', modules))
    named |= set(re.findall(r'data-(?:text|label)="(admin[^"]+)"', (assets.FOLDER / "admin.html").read_text()))
    assert named <= set(english)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PageError, match=r"index.html"):
        assets.load(tmp_path)


def test_the_vendored_client_is_as_published_and_its_licence_is_beside_it() -> None:
    vendor = assets.FOLDER / "vendor"
    source = (vendor / "socket.io.js").read_text()
    version = re.search(r"Socket\.IO v([\d.]+)", source)
    assert version
    assert version[1] in (vendor / "README.txt").read_text()
    assert "MIT" in (vendor / "socket.io.LICENSE.txt").read_text()
    assert not any(b"sourceMappingURL" in file.body for file in assets.load().files.values())
