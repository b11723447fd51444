"""N-14b: what proves who is calling is compared in constant time: by `hmac.compare_digest`, with every accepted value."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

import pytest

from tests.lint.deployed import deployed, dotted

if TYPE_CHECKING:
    from collections.abc import Iterator

# A comparison of anything whose name has one of these words is looked at.
SECRET_WORDS = frozenset(
    {
        *("secret", "secrets", "token", "tokens", "signature", "signatures", "password", "passwords", "hmac", "mac"),
        *(
            "digest",
            "digests",
            "hexdigest",
            "sha256",
            "credential",
            "credentials",
            "key",
            "keys",
            "apikey",
            "authorization",
        ),
        *("pin", "pins", "master", "masters", "bearer"),
    }
)
# What has such a name and proves nothing, each with its reason.
ALLOWED = {
    "lib/bot/client.py: key != self._key": "the bot's own settings with themselves: are they still the same?",
    "lib/db/migrate.py: digest != _digest(one.path.read_text())": "a migration's checksum",
    "lib/nodes/keys.py: key_name == MASTER_KEYS": "the name of a setting",
    "lib/nodes/transport.py: self._pins == other._pins": "pins are of public keys, and public themselves",
    "lib/nodes/transport.py: seen not in self._pins": "as above",
    "lib/off_site/copy.py: Copied(copied.day, files.sha256_of(body)) != copied": "the checksum of a manifest, which is no secret",
    "lib/off_site/copy.py: Copied(due.previous.day, files.sha256_of(body)) != due.previous": "as above",
    "lib/off_site/copy.py: found.lines_sha256 != wanted.lines_sha256": "the checksum of a file",
    "lib/off_site/verify.py: digest == known": "the checksum of a manifest",
    "lib/off_site/verify.py: recorded != Copied(day, digest)": "as above",
    "lib/oracle.py: done.key == key": "a transfer's name: what it is about",
    "lib/oracle.py: one.key == f'event:{event}'": "as above",
    "lib/oracle.py: one.key == key": "as above",
    "lib/web/requests.py: key.lower() == wanted": "a header's name",
    "xray_api/converge.py: _client(name) not in held_back": "a client's public name",
    "xray_api/converge.py: name in missing": "a client's public name",
    "xray_api/converge.py: name not in wanted": "a client's public name",
    "xray_api/store.py: key in uuids_elsewhere": "whether two rows hold one UUID; the caller has proved who it is",
}
_CONSTANT_TIME = "hmac.compare_digest"
_WORDS = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")
_TEXT_METHODS = {"startswith", "endswith", "find", "index", "count", "__eq__", "fullmatch", "match", "search"}


def _is_secret(node: ast.expr, of_secrets: frozenset[str] = frozenset()) -> bool:  # noqa: PLR0911 -- a table of kinds
    """Whether the expression is, holds or makes what has a secret's name; a constant and a length are none."""
    match node:
        case ast.Constant() | ast.Compare(ops=[ast.Is() | ast.IsNot()]):
            return False
        case ast.Name(id=name) | ast.Attribute(attr=name) if (
            name.isupper()
        ):  # written in the source, which holds no secret
            return False
        case ast.Call(func=ast.Name(id="len" | "type" | "isinstance" | "bool")):
            return False
        case ast.Call(func=ast.Attribute(attr="keys"), args=[]):  # of a dict
            return False
        case ast.Name(id=name):
            return _has_secret_word(name) or name in of_secrets
        case ast.Attribute(attr=name, value=value):
            return _has_secret_word(name) or _is_secret(value, of_secrets)
        case ast.Call(func=function, args=arguments):
            return any(_is_secret(one, of_secrets) for one in (function, *arguments))
    return any(_is_secret(child, of_secrets) for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr))


def _members_of_secrets(tree: ast.Module) -> frozenset[str]:
    """Names that stand for one of several secrets in a loop."""
    return frozenset(
        node.target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.For | ast.AsyncFor | ast.comprehension)
        and isinstance(node.target, ast.Name)
        and _is_secret(node.iter)
    )


def _is_pattern(node: ast.expr) -> bool:
    """A constant of the module, such as the shape of a token."""
    return isinstance(node, ast.Name) and node.id.isupper()


def _has_secret_word(name: str) -> bool:
    return not SECRET_WORDS.isdisjoint(word.lower() for word in _WORDS.findall(name))


def _names_nothing(node: ast.expr) -> bool:
    """Compared with one of these, only its presence or its kind is asked."""
    match node:
        case ast.Constant(value=None | "" | b"" | True | False | int()):
            return True
        case ast.Tuple() | ast.List() | ast.Set() | ast.Dict():
            return False
    return False


def comparisons(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Each place where a secret is compared as any other value is: by operators, in a table, by a text's methods."""
    of_secrets = _members_of_secrets(tree)

    def is_secret(one: ast.expr) -> bool:
        return _is_secret(one, of_secrets)

    for node in ast.walk(tree):
        match node:
            case ast.Compare(left=left, ops=operators, comparators=others):
                sides = [left, *others]
                by_value = any(isinstance(one, ast.Eq | ast.NotEq | ast.In | ast.NotIn) for one in operators)
                if by_value and any(map(is_secret, sides)) and not any(map(_names_nothing, sides)):
                    yield node.lineno, ast.unparse(node)
            case ast.Match(subject=subject) if is_secret(subject):
                yield node.lineno, f"match {ast.unparse(subject)}"
            case ast.Call(func=ast.Attribute(attr=name, value=value), args=[ast.expr() as given, *_]) if (
                name in _TEXT_METHODS
                and (is_secret(value) or is_secret(given))
                and not isinstance(given, ast.Constant)
                and not _is_pattern(value)
            ):
                yield node.lineno, ast.unparse(node)


def stops_early(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Each comparison in constant time whose answer ends a search: which of several secrets matched can be timed then."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="any" | "all" | "next"), args=[ast.GeneratorExp() as generator, *_]):
                if _compares(generator):
                    yield node.lineno, ast.unparse(node)
            case ast.BoolOp() if sum(map(_compares, node.values)) > 1:
                yield node.lineno, ast.unparse(node)
            case ast.For(body=body) | ast.While(body=body):
                for one in body:
                    if isinstance(one, ast.If) and _compares(one.test):
                        yield one.lineno, ast.unparse(one.test)


def _compares(node: ast.AST) -> bool:
    return any(isinstance(one, ast.Call) and dotted(one.func).endswith("compare_digest") for one in ast.walk(node))


@pytest.mark.proves("N-14b")
def test_no_secret_is_compared_as_any_other_value_is() -> None:
    found = {
        f"{module.name}: {expression}": line for module in deployed() for line, expression in comparisons(module.tree)
    }
    assert {place: line for place, line in found.items() if place not in ALLOWED} == {}
    assert [place for place in ALLOWED if place not in found] == [], "an exception that excuses nothing"


@pytest.mark.proves("N-14b")
def test_every_accepted_secret_is_compared_whichever_matches() -> None:
    found = [f"{module.name}:{line}: {what}" for module in deployed() for line, what in stops_early(module.tree)]
    assert found == []


@pytest.mark.proves("N-14b")
def test_who_calls_is_decided_in_constant_time_at_each_edge() -> None:
    """The edges that callers reach without the platform's own authentication."""
    comparing = {module.name for module in deployed() if any(name == _CONSTANT_TIME for name, _ in module.calls())}
    assert comparing == {
        "functions/public/health.py",
        "functions/public/telegram_webhook.py",
        "lib/payments/cryptopay_news.py",
        "xray_api/auth.py",
    }


@pytest.mark.parametrize(
    "source",
    [
        "given == secret",
        "secret != given",
        "header in secrets",
        "header not in settings.telegram_secrets",
        "request.headers['X-Api-Key'] == self._key",
        "hmac.new(key, body, 'sha256').hexdigest() == signature",
        "signature.lower() == expected",
        "digest(given) in known_digests",
        "given.startswith(apiKey)",
        "api_key.startswith(given)",
        "[one for one in keys if one == given]",
        "match token:\n    case 'x':\n        pass",
        "bytes(token) == b'abc'",
        "tokens.index(given)",
        "a == b == token",
        "given == (token or default)",
    ],
)
def test_the_lint_sees_a_comparison(source: str) -> None:
    assert list(comparisons(ast.parse(source)))


@pytest.mark.parametrize(
    "source",
    [
        "token is None",
        "secret == ''",
        "len(key) > 3",
        "hmac.compare_digest(given, secret)",
        "keyboard == other",
        "status == 200",
    ],
)
def test_the_lint_lets_the_rest_be(source: str) -> None:
    assert not list(comparisons(ast.parse(source)))


@pytest.mark.parametrize(
    "source",
    [
        "any(hmac.compare_digest(given, one) for one in secrets)",
        "for one in secrets:\n    if hmac.compare_digest(given, one):\n        break",
        "hmac.compare_digest(a, b) or hmac.compare_digest(a, c)",
    ],
)
def test_the_lint_sees_a_search_that_stops_early(source: str) -> None:
    assert list(stops_early(ast.parse(source)))
