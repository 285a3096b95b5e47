"""The page's modules as one text: the order, the rules, and what a breach of them says."""

from pathlib import Path

import pytest

from intercomd.hub.web import bundle as bundles
from intercomd.hub.web.bundle import PageError, bundle, lean


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = {
        "main.js": 'import { b } from "./b.js";\nimport { a, c } from "./a.js";\n\nb(a, c);\n',
        "b.js": '// What b is.\nimport { a } from "./a.js";\nexport function b() {\n  return a;\n}\n',
        "a.js": "export const a = 1;\nexport class c {}\nlet hidden = 2;\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def put(folder: Path, name: str, text: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(text)


def joined(folder: Path) -> str:
    return bundle(folder, "main.js", lambda source: f"/elsewhere/{source}")


def test_each_module_once_and_before_those_that_need_it(folder: Path) -> None:
    assert joined(folder) == "const a = 1;\nclass c {}\nlet hidden = 2;\nfunction b() {\nreturn a;\n}\nb(a, c);\n"


def test_what_lies_below_stays_a_file_of_its_own(folder: Path) -> None:
    put(folder, "a.js", 'import { io } from "./vendor/io.js";\nexport const a = io;\nexport class c {}\n')
    assert joined(folder).startswith('import { io } from "/elsewhere/vendor/io.js";\nconst a = io;\n')


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('import a from "./a.js";\n', "main.js:1: an import or export in another form"),
        ('import { a as z } from "./a.js";\n', "another form"),
        ("export default 1;\n", "another form"),
        ("export { a };\n", "another form"),
        ("const a = `one\ntwo`;\n", "main.js:1: a text between backticks"),
        ('import { b } from "./b.js";\nconst a = 2;\n', "main.js and page/a.js both declare a"),
        ('import { x } from "./missing.js";\n', "missing.js"),
    ],
)
def test_a_breach_is_named_with_its_place(folder: Path, text: str, complaint: str) -> None:
    put(folder, "main.js", text)
    with pytest.raises(PageError, match=complaint):
        joined(folder)


def test_a_circle_of_imports_is_named(folder: Path) -> None:
    put(folder, "a.js", 'import { b } from "./b.js";\nexport const a = b;\nexport class c {}\n')
    with pytest.raises(PageError, match=r"b.js > a.js > b.js"):
        joined(folder)


def test_lean_text_has_no_comments_of_their_own_lines_and_no_indentation() -> None:
    text = "/* a\n   b */\nx {\n  // no\n  color: red; /* kept */\n\n}\n"
    assert lean(text) == "x {\ncolor: red; /* kept */\n}"


def test_the_real_page_keeps_the_rules() -> None:
    folder = Path(bundles.__file__).parents[1] / "page"
    text = bundle(folder, "main.js", lambda source: source)
    assert text.count("import ") == 1
    assert "export " not in text
