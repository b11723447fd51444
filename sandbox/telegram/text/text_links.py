"""Links that Telegram finds by itself in any text, with a protocol or without. Compared with TDLib's own answers."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_PORT: Final = 65535
# Every country, and the general ends that are seen in the wild; the server knows all 1400.
COUNTRIES: Final = (
    "ac ad ae af ag ai al am ao aq ar as at au aw ax az ba bb bd be bf bg bh bi bj bm bn bo br bs bt bw by bz ca cc cd cf cg"
    " ch ci ck cl cm cn co cr cu cv cw cx cy cz de dj dk dm do dz ec ee eg er es et eu fi fj fk fm fo fr ga gd ge gf gg gh gi"
    " gl gm gn gp gq gr gs gt gu gw gy hk hm hn hr ht hu id ie il im in io iq ir is it je jm jo jp ke kg kh ki km kn kp kr kw"
    " ky kz la lb lc li lk lr ls lt lu lv ly ma mc md me mg mh mk ml mm mn mo mp mq mr ms mt mu mv mw mx my mz na nc ne nf ng"
    " ni nl no np nr nu nz om pa pe pf pg ph pk pl pm pn pr ps pt pw py qa re ro rs ru rw sa sb sc sd se sg sh si sk sl sm sn"
    " so sr ss st su sv sx sy sz tc td tf tg th tj tk tl tm tn to tr tt tv tw tz ua ug uk us uy uz va vc ve vg vi vn vu wf ws"
    " ye yt za zm zw рф бел укр қаз"
)
GENERAL: Final = (
    "com net org info biz name pro edu gov mil int mobi app dev page cloud xyz top site online store shop tech live life"
    " club vip work world today space website link click blog news media design studio agency digital network systems"
    " services solutions support team group one fun games plus zone run art asia tel travel museum aero coop jobs cat ton"
    " москва онлайн сайт дети"
)
ENDS: Final = frozenset(f"{COUNTRIES} {GENERAL}".split())
_APP: Final = re.compile(r"(?i)(?<![\w.])(?:tg|ton|tonsite)://[\w-][\w.-]*(?:[/?#][^\s<>«»\"]*)?")
_WEB: Final = re.compile(
    r"(?i)(?<![\w@/.-])(?P<protocol>[a-z]{2,20}://(?:[^\s/?#@<>\"]+@)?)?"
    r"(?P<host>(?:[\w-]+\.)+[\w-]+)(?P<port>:\d+)?(?P<rest>[/?#][^\s<>«»\"]*)?(?![@\w])"
)
_TRAILING: Final = ".:;,('?!`"
_BRACKETS: Final = {")": "(", "]": "[", "}": "{"}
_COMMON_LABELS: Final = 2


def _host(host: str) -> bool:
    labels = host.lower().split(".")
    if labels[-1].isdigit():
        try:
            return bool(ipaddress.IPv4Address(host))
        except ValueError:
            return False
    if any(label.startswith("-") or label.endswith("-") for label in labels):
        return False
    if any("_" in label for label in labels[-_COMMON_LABELS:]):
        return False
    return labels[-1] in ENDS or labels[-1].startswith("xn--")


def _end(text: str, begin: int, end: int) -> int:
    """Where the link ends, without what is punctuation of the sentence: stops, and brackets it does not open."""
    while end > begin:
        last = text[end - 1]
        opens = _BRACKETS.get(last)
        if last not in _TRAILING and (opens is None or text[begin:end].count(opens) >= text[begin:end].count(last)):
            break
        end -= 1
    return end


def find_links(text: str) -> Iterator[tuple[int, int]]:
    """Begin and end of each link, in code points."""
    for match in _APP.finditer(text):
        yield match.start(), _end(text, match.start(), match.end())
    for match in _WEB.finditer(text):
        protocol = match["protocol"] or "http:"
        # A key (vless://...) is no link, nor is what stands inside it; the apps' protocols had their turn.
        if protocol.partition(":")[0].lower() not in {"http", "https", "ftp"} or not _host(match["host"]):
            continue
        begin, end = match.span()
        port = match["port"]
        if port and not 0 < int(port[1:]) <= MAX_PORT:
            end = match.end("host")
        yield begin, _end(text, begin, end)
