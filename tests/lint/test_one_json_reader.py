"""G-16: JSON is parsed in one place, so that no edge has a reader of its own."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest

from tests.lint.deployed import deployed, dotted

if TYPE_CHECKING:
    from collections.abc import Iterator

READERS = {
    "lib/json_reader.py": "the functions' one reader",
    "xray_api/json_reader.py": "the node service's: a node has no lib",
}
_LIBRARIES = {"json", "simplejson", "ujson", "orjson", "rapidjson", "msgspec", "pydantic_core", "from_json"}
_PARSERS = {"loads", "load", "raw_decode", "JSONDecoder", "scanner", "from_json"}
_METHODS = {"json", "model_validate_json", "validate_json", "parse_raw"}


def parsing(tree: ast.Module) -> Iterator[str]:
    """Each place where JSON is parsed: a library's parser named or imported, or an answer's own `.json()`."""
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] in _LIBRARIES:
                yield from (f"{node.lineno}: {one.name}" for one in node.names if one.name in _PARSERS)
            case ast.Import():
                yield from (f"{node.lineno}: {one.name} as {one.asname}" for one in node.names if _renamed(one))
            case ast.Attribute(attr=name) if name in _PARSERS and dotted(node).split(".")[0] in _LIBRARIES:
                yield f"{node.lineno}: {dotted(node)}"
            case ast.Call(func=ast.Attribute(attr=name)) if name in _METHODS:
                yield f"{node.lineno}: .{name}()"


def _renamed(imported: ast.alias) -> bool:
    return imported.name.split(".")[0] in _LIBRARIES and imported.asname not in {None, imported.name}


@pytest.mark.proves("G-16")
def test_only_the_readers_parse() -> None:
    found = {module.name: list(parsing(module.tree)) for module in deployed()}
    assert {name: places for name, places in found.items() if places and name not in READERS} == {}
    assert all(found[name] for name in READERS), "a reader that reads nothing is none"


@pytest.mark.parametrize(
    "source",
    [
        "import json\nvalue = json.loads(body)",
        "import json\nread = json.loads",
        "import json\njson.load(open(path))",
        "from json import loads",
        "from json import loads as read",
        "from json.decoder import JSONDecoder",
        "import json as j\nj.loads(body)",
        "import orjson\norjson.loads(body)",
        "value = (await client.get(url)).json()",
        "value = await request.json()",
        "Model.model_validate_json(body)",
        "import json\njson.JSONDecoder().raw_decode(body)",
    ],
)
def test_the_lint_sees_a_second_reader(source: str) -> None:
    assert list(parsing(ast.parse(source)))


@pytest.mark.parametrize(
    "source", ["import json\njson.dumps(value)", "from lib import json_reader\njson_reader.read(b)"]
)
def test_the_lint_lets_writers_be(source: str) -> None:
    assert not list(parsing(ast.parse(source)))
