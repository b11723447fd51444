"""What each setting may be: one strict reader for its first use and for the check of settings, so the two can't disagree.

Plain Python, for the public functions' import budget. A refusal says what to mend and quotes nothing: values may be secret.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from zoneinfo import ZoneInfo

T = TypeVar("T")

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
ENVIRONMENTS = ("local", "dev", "prod")
PAYMENT_METHODS = ("stars", "cryptobot", "card", "balance", "transfer")
"""Every way to pay (product.md#payment-methods), in the order in which they are offered unless `PAYMENT_METHODS` says otherwise."""
MOST_CONNECTIONS = 100
_HIGHEST_PORT = 65_535
_LONGEST_HOST, _LONGEST_ADDRESS = 253, 2048
_BIGGEST_ID = 2**63 - 1

# Letters and digits are ASCII everywhere: int("٣") is 3, and no server takes it.
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NUMBER_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*")
_IPV4 = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3}){3}")
_IPV6 = re.compile(r"\[[0-9a-f:.]{2,45}\]")
_ADDRESS = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[^][/?#@]*\]|[^][/?#@:]*)(?::(?P<port>[0-9]{1,5}))?(?P<path>/[^?#]*)?(?P<rest>[?#].*)?",
    re.IGNORECASE,
)
_PATH = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*")
_REST = re.compile(
    r"(?:\?(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*)?(?:#(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*)?"
)
# The rule of the database's own function is_node_address, which a test compares with this one.
_NODE_PATH = re.compile(r"(?:/[A-Za-z0-9._~-]+)*")
_LOOPBACK_IPV6 = "[::1]"
_PIN = re.compile(r"[0-9a-f]{64}")
_MOST_PINS = 2
_APP_LINK = re.compile(r"tg://[A-Za-z0-9_-]+(?:\?(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*)?", re.IGNORECASE)
_BOT_TOKEN = re.compile(r"[0-9]{1,20}:[A-Za-z0-9_-]{8,256}")
_BOT_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{3,31}")
_WEBHOOK_SECRET = re.compile(r"[A-Za-z0-9_-]{1,256}")
_PROVIDER_TOKEN = re.compile(r"[0-9]{1,20}:(?:LIVE|TEST):[A-Za-z0-9_:.-]{1,256}")
_CRYPTOPAY_TOKEN = re.compile(r"[0-9]{1,20}:[!-+\--~]{8,256}")
_API_KEY = re.compile(r"[!-~]{1,1024}")
_MASTER_KEY = re.compile(r"[!-+\--~]{32,1024}")
_PROJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}")
_LOCATION = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_SERVICE_ACCOUNT = re.compile(r"[A-Za-z0-9._+-]{1,64}@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")
_STORE = re.compile(
    r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?P<folder>(?:/[A-Za-z0-9][A-Za-z0-9._-]{0,99}){0,9})/?"
)
_STORE_KEY = re.compile(r"(?P<id>[A-Za-z0-9._-]{3,128}):(?P<secret>[!-~]{8,256})")
_WHOLE = re.compile(r"[0-9]{1,19}")
_SECONDS = re.compile(r"[0-9]{1,5}(?:\.[0-9]{1,3})?")
_ZONE = re.compile(r"[A-Za-z0-9_+-]{1,32}(?:/[A-Za-z0-9_+-]{1,32}){0,2}")
_NO_ZONES = ("posix/", "right/", "localtime", "posixrules")
_MOST_SECONDS = 86_400.0


class UnusableSetting(Exception):
    """A setting that this function can't work without can't be used; the text begins with its name and quotes nothing of it."""


class WrongSetting(UnusableSetting):
    """A setting's value can't be what it is for."""


def host(text: str) -> str:
    """A name of ASCII labels, an IPv4 address, or an IPv6 address in brackets; in small letters.

    Raises:
        ValueError: it is none that a connection could be made to.
    """
    name = text.lower()
    if name.startswith("["):
        if _IPV6.fullmatch(name) and _is_ipv6(name[1:-1]):
            return f"[{IPv6Address(name[1:-1]).compressed}]"  # one form of each, so that two can be compared
        raise ValueError("the host is no IPv6 address in brackets")
    labels = name.split(".")
    if len(name) > _LONGEST_HOST or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("the host is no name, of other than ASCII letters in its xn-- form, and no address")
    if _NUMBER_LABEL.fullmatch(labels[-1]) and not _is_ipv4(name):  # some resolvers read 127.1 as 127.0.0.1
        raise ValueError("the host is neither an IPv4 address in its usual form nor a name")
    return name


def port(text: str) -> int:
    """A port, 1 to 65535, in ASCII digits.

    Raises:
        ValueError: it is none.
    """
    if not _WHOLE.fullmatch(text) or not 0 < int(text) <= _HIGHEST_PORT:
        raise ValueError("the port is none")
    return int(text)


def http_address(text: str) -> str:
    """The base of a server's addresses: scheme, host, port and a plain path; scheme and host small, no slash at the end.

    Raises:
        ValueError: paths can't be appended to it, or no HTTP client could call it.
    """
    scheme, server, path, rest = _parts(text)
    if rest:
        raise ValueError("must end with its path: no ? and no #")
    if not _PATH.fullmatch(path):
        raise ValueError("the path may hold ASCII letters, digits and percent-encoded characters")
    return f"{scheme}://{server}{path}".rstrip("/")


def node_address(text: str) -> str:
    """`http_address`, of those that the table of nodes takes.

    Raises:
        ValueError: it takes no such address.
    """
    address = http_address(text)
    _, server, path, _ = _parts(address)
    if "_" in server or not _NODE_PATH.fullmatch(path):
        raise ValueError("must be scheme, host, port and a path of A-Z a-z 0-9 . _ ~ -")
    if address.startswith("http:") and not is_loopback(address):
        raise ValueError("must be https: only a node on this very machine is called without TLS")
    return address


def is_loopback(address: str) -> bool:
    """Whether an address, as `http_address` gives it, is of this very machine; the rule of the database's `is_loopback_address`.

    Never a name, localhost neither: which machine it is would be a resolver's word.
    """
    _, server, _, _ = _parts(address)
    name = server if server.endswith("]") else server.rpartition(":")[0] or server
    return name == _LOOPBACK_IPV6 or (_is_ipv4(name) and IPv4Address(name).is_loopback)


def node_pins(text: str) -> tuple[str, ...]:
    """What a node's certificate is known by (docs/node.md, Pins): one, or two while it is exchanged, the present one first.

    Raises:
        ValueError: they are none.
    """
    pins = tuple(part.strip().lower() for part in text.split(","))
    if not all(_PIN.fullmatch(pin) for pin in pins):
        raise ValueError("each must be 64 hexadecimal digits: the SHA-256 of the certificate's public key")
    if len(pins) > _MOST_PINS or len(set(pins)) != len(pins):
        raise ValueError(
            "must be one pin, or two different ones with a comma between them while the certificate is exchanged"
        )
    return pins


def matching_pins(address: str, pins: tuple[str, ...]) -> None:
    """Whether these are the pins for that node: TLS has one, since its certificate is known by nothing else; plain HTTP has none.

    Raises:
        ValueError: they are not.
    """
    if address.startswith("https:") and not pins:
        raise ValueError("is not set, and without it any machine could answer in the node's place")
    if address.startswith("http:") and pins:
        raise ValueError("is set, but the address has no TLS that would show a certificate")


def function_address(text: str) -> str:
    """How one function finds another: `http_address` with {name} in it, for the name of every function.

    Raises:
        ValueError: {name} is not in it, or what it becomes is no address.
    """
    from lib import function_table  # noqa: PLC0415 -- read when the first task is made

    if "{name}" not in text:
        raise ValueError("must contain {name}")
    if text.endswith("/"):
        raise ValueError("must not end with /")
    for function in function_table.load().functions.values():
        http_address(text.replace("{name}", function.service))
    return text


def support_address(text: str) -> str:
    """An address that Telegram puts behind a button: http(s) with a dotted host, or tg://.

    Raises:
        ValueError: Telegram would refuse the whole message.
    """
    if _APP_LINK.fullmatch(text) and len(text) <= _LONGEST_ADDRESS:
        return text
    scheme, server, path, rest = _parts(text)
    if "." not in server and not server.startswith("["):
        raise ValueError("the host must have a dot in it: Telegram refuses the others")
    if not _PATH.fullmatch(path) or not _REST.fullmatch(rest):
        raise ValueError("must be written with ASCII letters, digits and percent-encoded characters")
    return f"{scheme}://{server}{path}{rest}"


def listed(one: Callable[[str], str]) -> Callable[[str], tuple[str, ...]]:
    """The reader of a list with commas between its members, the first one current; blank members are left out.

    It raises ValueError: a member is none, or there is no member.
    """

    def read(text: str) -> tuple[str, ...]:
        members = tuple(one(part.strip()) for part in text.split(",") if part.strip())
        if not members:
            raise ValueError("has no member")
        return members

    return read


def _shape(pattern: re.Pattern[str], words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(words)
        return text

    return read


bot_token = _shape(_BOT_TOKEN, "must look like 123456:ABC...")
bot_name = _shape(_BOT_NAME, "must be a bot's name without @")
webhook_secrets = listed(_shape(_WEBHOOK_SECRET, "1 to 256 of A-Z a-z 0-9 _ - each"))
cryptopay_tokens = listed(_shape(_CRYPTOPAY_TOKEN, "must look like 12345:AA..."))
provider_token = _shape(
    _PROVIDER_TOKEN, "must look like 123456789:LIVE:..., as @BotFather gives it for a payment provider"
)
api_key = _shape(_API_KEY, "must be printable ASCII without spaces: it goes in a header")
master_keys = listed(_shape(_MASTER_KEY, "each needs at least 32 printable ASCII characters without spaces"))
project = _shape(_PROJECT, "must be a project's id")
location = _shape(_LOCATION, "must be a region such as europe-west1")


store_region = _shape(
    re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"), "must be a region such as eu-central-1, or auto"
)


def store_folder(text: str) -> tuple[str, str]:
    """A bucket and a folder in it, "" for none: `s3://bucket/folder`, in characters that no client quotes.

    Raises:
        ValueError: it is none.
    """
    found = _STORE.fullmatch(text)
    if found is None:
        raise ValueError("must be s3://bucket/folder: a bucket of a-z 0-9 . -, folders of A-Z a-z 0-9 . _ -")
    return found["bucket"], found["folder"].removeprefix("/")


def store_endpoint(text: str) -> str:
    """`http_address` of a store, without a path: buckets are its first folder.

    Raises:
        ValueError: it is none, or the books would go there unencrypted.
    """
    address = http_address(text)
    if _parts(address)[2]:
        raise ValueError("must have no path")
    if address.startswith("http:") and not is_loopback(address):
        raise ValueError("must be https: only a store on this very machine is called without TLS")
    return address


def store_key(text: str) -> tuple[str, str]:
    """An access key: its id and its secret, with a colon between them, since neither is of use without the other.

    Raises:
        ValueError: it is none.
    """
    found = _STORE_KEY.fullmatch(text)
    if found is None:
        raise ValueError("must be an access key's id, a colon, and its other half, in printable ASCII without spaces")
    return found["id"], found["secret"]


def is_of_a_test(text: str) -> bool:
    """Whether a payment provider's token is of its test, in which no money moves."""
    return ":TEST:" in text


def invoker(text: str) -> str:
    """As whom tasks call: a service account's address, in which {queue} is the name of the task's queue, for every queue.

    Raises:
        ValueError: it is no address, or one queue's is none.
    """
    from lib import function_table  # noqa: PLC0415 -- read when the first task is made

    queues = function_table.load().queues if "{queue}" in text else [""]
    if not all(_SERVICE_ACCOUNT.fullmatch(text.replace("{queue}", queue)) for queue in queues):
        raise ValueError("must be a service account's address, with {queue} where the queue's name goes")
    return text


def environment(text: str) -> str:
    """Raises: ValueError: none of `ENVIRONMENTS`."""
    if text not in ENVIRONMENTS:
        raise ValueError(f"must be one of {', '.join(ENVIRONMENTS)}")
    return text


def log_level(text: str) -> str:
    """Raises: ValueError: none of `LOG_LEVELS`."""
    if text not in LOG_LEVELS:
        raise ValueError(f"must be one of {', '.join(LOG_LEVELS)}")
    return text


def assets(text: str) -> tuple[str, ...]:
    """What Crypto Pay takes for an invoice.

    Raises:
        ValueError: a code is none of a cryptocurrency that Atlas knows.
    """
    from lib import currencies  # noqa: PLC0415 -- read with the first invoice

    def one(code: str) -> str:
        if code not in currencies.CRYPTO:
            raise ValueError("must be codes such as USDT,TON,BTC, each of a cryptocurrency that Atlas knows")
        return code

    return listed(one)(text)


# What a receipt's item may say, by 54-FZ's own words, as card providers take them (docs/configuration.md#receipts-of-cards).
_RECEIPT = {
    "vat_code": frozenset(str(code) for code in range(1, 13)),
    "tax_system_code": frozenset(str(code) for code in range(1, 7)),
    "payment_subject": frozenset(("commodity", "excise", "job", "service", "payment", "composite", "another")),
    "payment_mode": frozenset(
        ("full_prepayment", "prepayment", "advance", "full_payment", "partial_payment", "credit", "credit_payment")
    ),
}


def card_receipt(text: str) -> dict[str, str]:
    """What a card's provider is told for the receipt: `vat_code=1,payment_subject=service` and the like.

    Raises:
        ValueError: it names what there is not, a value that there is not, a name twice, or no `vat_code`.
    """
    found: dict[str, str] = {}
    for part in text.split(","):
        name, _, value = (one.strip() for one in part.partition("="))
        if name not in _RECEIPT or value not in _RECEIPT[name] or name in found:
            raise ValueError(
                f"must be such as vat_code=1,payment_subject=service, each of {', '.join(_RECEIPT)} at most once"
            )
        found[name] = value
    if "vat_code" not in found:
        raise ValueError("must say a vat_code")
    return found


def switch(text: str) -> bool:
    """Whether something is done: `yes` or `no`.

    Raises:
        ValueError: it is neither.
    """
    if text not in {"yes", "no"}:
        raise ValueError("must be yes or no")
    return text == "yes"


def ids(text: str) -> tuple[int, ...]:
    """Telegram ids, as a bigint column holds them.

    Raises:
        ValueError: one is none.
    """

    def one(part: str) -> str:
        if not _WHOLE.fullmatch(part) or not 0 < int(part) <= _BIGGEST_ID:
            raise ValueError("must be Telegram ids with commas between them")
        return part

    return tuple(map(int, listed(one)(text)))


def connections(text: str) -> int:
    """Connections of one instance: one for what waits, one for the rest, at least.

    Raises:
        ValueError: not a whole number from 2 to 100.
    """
    if not _WHOLE.fullmatch(text) or not 2 <= int(text) <= MOST_CONNECTIONS:  # noqa: PLR2004 -- said above
        raise ValueError(f"must be a whole number from 2 to {MOST_CONNECTIONS}")
    return int(text)


def seconds(text: str) -> float:
    """A limit of a sweep, a millisecond to a day.

    Raises:
        ValueError: it is none.
    """
    if not _SECONDS.fullmatch(text) or not 0 < float(text) <= _MOST_SECONDS:
        raise ValueError("must be seconds, above zero and at most 86400")
    return float(text)


def zone(text: str) -> ZoneInfo:
    """A zone of the tz database, by the name that Postgres knows it by too.

    Raises:
        ValueError: there is none of that name.
    """
    from zoneinfo import ZoneInfo  # noqa: PLC0415 -- a webhook that shows no time need not load it

    if _ZONE.fullmatch(text) and not text.startswith(_NO_ZONES):
        try:
            return ZoneInfo(text)
        except (KeyError, ValueError, OSError):  # a folder of zones, or a file that is none
            pass
    raise ValueError("must be a zone of the tz database, such as Europe/Moscow")


def _parts(text: str) -> tuple[str, str, str, str]:
    """Scheme, host with its port, path, and what follows it. No user, no password: an address gets into logs and rows."""
    found = _ADDRESS.fullmatch(text) if len(text) <= _LONGEST_ADDRESS else None
    if found is None:
        raise ValueError("must be an http(s) address: https://host:port/path, without user and password")
    server = host(found["host"])
    if found["port"] is not None:
        server = f"{server}:{port(found['port'])}"
    return found["scheme"].lower(), server, found["path"] or "", found["rest"] or ""


def _is_ipv4(text: str) -> bool:
    try:
        IPv4Address(text)
    except ValueError:
        return False
    return _IPV4.fullmatch(text) is not None


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True
