"""A card statement is read to the kopeck, line by line: a broken line is named, and the rest is read."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from lib.payments.card_statement import MOST_BYTES, Statement, UnreadableStatement, all_of, read

MOSCOW = ZoneInfo("Europe/Moscow")
HEAD = "kind;id;charge;amount;fee;currency;at;purchase"
GOOD = "charge;ch-1;;149.00;5.22;RUB;2026-11-30 12:00:00;"
PURCHASE = "3d5f6a0c-0f1e-4c1e-9a60-0b8f6c1f0a11"


def of(*rows: str, head: str = HEAD) -> Statement:
    return read("\n".join((head, *rows)).encode(), currency="RUB", zone=MOSCOW)


def amounts(statement: Statement) -> list[tuple[str, int, int]]:
    return [(line.id, line.amount, line.fee) for line in statement.lines]


def test_every_kind_of_line_is_read() -> None:
    statement = of(
        f"charge;ch-1;;149.00;5.22;RUB;2026-11-30 12:00:00;{PURCHASE}",
        "FEE;f-1;ch-1;1;;rub;2026-11-30T12:00:01+00:00;",
        "refund;r-1;ch-1;149;0;RUB;2026-11-30T12:00:02Z;",
        "chargeback;c-1;ch-1;149,00;1000.5;RUB;2026-11-30 12:00;",
        "payout;p-1;;100000.00;;RUB;2026-11-30 12:00:00.5;",
    )
    assert statement.broken == ()
    assert [(line.number, line.kind, line.id, line.charge, line.amount, line.fee) for line in statement.lines] == [
        (2, "charge", "ch-1", "", 14_900, 522),
        (3, "fee", "f-1", "ch-1", 100, 0),
        (4, "refund", "r-1", "ch-1", 14_900, 0),
        (5, "chargeback", "c-1", "ch-1", 14_900, 100_050),
        (6, "payout", "p-1", "", 10_000_000, 0),
    ]
    assert statement.lines[0].purchase_id == UUID(PURCHASE)
    assert statement.lines[0].at == datetime(2026, 11, 30, 9, tzinfo=UTC), "in the books' zone unless it says another"
    assert statement.lines[1].at == datetime(2026, 11, 30, 12, 0, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "amount",
    [
        "0", "0.00", "-149", "+149", "NaN", "nan", "Infinity", "1e9", "1E2", "0.1+0.2", "149.0000000000000001", "149.001", "149.", ".5", "149.00.00",
        "1 490", "1,490.00", "1_490", "0x95", "\u0661\u0664\u0669", "\uff11\uff14\uff19", "1\u00a0490", "149 RUB", "", "=149", "149.\u0660\u0660", "9" * 13,
    ],
)  # fmt: skip
def test_what_is_no_amount_to_the_kopeck_is_named_by_its_line_and_the_rest_is_read(amount: str) -> None:
    for column in ("amount", "fee") if amount not in {"0", "0.00", ""} else ("amount",):
        cells = {"amount": "149.00", "fee": "5.22"} | {column: amount}
        statement = of(
            GOOD,
            f"charge;ch-2;;{cells['amount']};{cells['fee']};RUB;2026-11-30 12:00:00;",
            GOOD.replace("ch-1", "ch-3"),
        )
        assert amounts(statement) == [("ch-1", 14_900, 522), ("ch-3", 14_900, 522)]
        ((number, reason),) = [(one.number, one.reason) for one in statement.broken]
        assert (number, reason.startswith(f"{column} ")) == (3, True)
        assert reason.isascii()


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("sale;ch-2;;149.00;;RUB;2026-11-30 12:00:00;", "kind 'sale' is none of"),
        ("charge;;;149.00;;RUB;2026-11-30 12:00:00;", "id '' is not an id"),
        ("charge;a b;;149.00;;RUB;2026-11-30 12:00:00;", "id 'a b' is not an id"),
        ("charge;1,23457E+17;;149.00;;RUB;2026-11-30 12:00:00;", "was shortened by a spreadsheet"),
        ("refund;r-1;;149.00;;RUB;2026-11-30 12:00:00;", "charge '' is not an id"),
        ("fee;f-1;ch-1;1.00;1.00;RUB;2026-11-30 12:00:00;", "a fee has no fee"),
        ("charge;ch-2;;149.00;;USD;2026-11-30 12:00:00;", "currency 'USD' is not RUB"),
        ("charge;ch-2;;149.00;;;2026-11-30 12:00:00;", "currency '' is not RUB"),
        ("charge;ch-2;;149.00;;RUB;2026-02-30 12:00:00;", "at '2026-02-30 12:00:00' is not a moment"),
        ("charge;ch-2;;149.00;;RUB;30.11.2026;", "at '30.11.2026' is not a moment"),
        ("charge;ch-2;;149.00;;RUB;0001-01-01 00:00:00+23:59;", "is not a moment"),
        ("charge;ch-2;;149.00;;RUB;2026-11-30 12:00:00;not-ours", "purchase 'not-ours' is not a purchase id"),
        ("charge;ch-2;;149.00", "4 cells are too few"),
        ("charge;ch-2;;149.00;;RUB;2026-11-30 12:00:00;;more", "9 cells, where the first line has 8"),
        ('charge;"ch-2;;149.00;;RUB;2026-11-30 12:00:00;', "not a line of CSV"),
        ("charge;ch-1;;148.00;;RUB;2026-11-30 12:00:00;", "charge ch-1 stands on line 2 with other amounts"),
        ("charge;\x1b[2Jch;;149.00;;RUB;2026-11-30 12:00:00;", r"id '\x1b[2Jch' is not an id"),
        (f"charge;{'9' * 201};;149.00;;RUB;2026-11-30 12:00:00;", f"id '{'9' * 40}'... is not an id"),
        ("total;;;149.00;;RUB;;", "kind 'total' is none of"),
    ],
)
def test_a_broken_line_is_named_and_the_rest_is_read(row: str, said: str) -> None:
    statement = of(GOOD, row, GOOD.replace("ch-1", "ch-3"))
    assert amounts(statement) == [("ch-1", 14_900, 522), ("ch-3", 14_900, 522)]
    ((number, reason),) = [(one.number, one.reason) for one in statement.broken]
    assert number == 3
    assert said in reason


def test_everything_that_is_wrong_with_a_line_is_said() -> None:
    (broken,) = of("sale;;;x;y;USD;never;z").broken
    assert [part.split(" ")[0] for part in broken.reason.split("; ")] == [
        "kind", "id", "amount", "fee", "currency", "at", "purchase",
    ]  # fmt: skip


def test_the_same_line_twice_is_one() -> None:
    statement = of(GOOD, GOOD, GOOD.replace("12:00:00", "12:00:09"))
    assert (amounts(statement), statement.broken) == ([("ch-1", 14_900, 522)], ())


@pytest.mark.parametrize("separator", [";", ",", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1251"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_encodings_separators_and_ends_of_lines(separator: str, encoding: str, line_end: str) -> None:
    rows = [
        "Kind;ID;what;Amount;FEE;currency; at ",
        'charge;ch-1;"\u0411\u0430\u0437\u043e\u0432\u044b\u0439; 30";149.00;5.22;RUB;2026-11-30 12:00:00',
        ";;;;;;",
        "charge;ch-2;x;1.10;;RUB;2026-11-30 12:00:00",
        "",
    ]
    quoted = rows[1] if separator == ";" else rows[1].replace('"', "").replace("\u0439; 30", "\u0439 30")
    text = (
        line_end.join([rows[0], quoted, *rows[2:]]).replace(";", separator)
        if separator != ";"
        else line_end.join([rows[0], quoted, *rows[2:]])
    )
    statement = read(text.encode(encoding), currency="RUB", zone=MOSCOW)
    assert (amounts(statement), statement.broken) == ([("ch-1", 14_900, 522), ("ch-2", 110, 0)], ())


def test_a_comma_in_an_amount_is_never_taken_for_the_end_of_it() -> None:
    statement = read(
        b"kind,id,currency,at,amount\ncharge,ch-1,RUB,2026-11-30 12:00:00,149,50\n", currency="RUB", zone=MOSCOW
    )
    assert statement.lines == ()
    assert [one.reason for one in statement.broken] == ["6 cells, where the first line has 5"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "empty"),
        (b"\n \r\n", "empty"),
        (b"PK\x03\x04\x00\x00", "no text"),
        (b"\xff\xfe\x00", "no text"),
        (b"id;amount\n1;2", "lacks kind, currency, at"),
        (b"kind;id;id;amount;currency;at", "has id twice"),
        (b'kind;"id;amount;currency;at', "the first line is not a line of CSV"),
        (b"x" * (MOST_BYTES + 1), "above 32 MiB"),
    ],
)
def test_what_is_no_statement_is_refused_whole(body: bytes, said: str) -> None:
    with pytest.raises(UnreadableStatement, match=said):
        read(body, currency="RUB", zone=MOSCOW)


def test_charges_are_taken_first() -> None:
    statement = of(
        "payout;p-1;;1;;RUB;2026-11-30 12:00:00;",
        "refund;r-1;ch-1;1;;RUB;2026-11-30 12:00:00;",
        "fee;f-1;ch-1;1;;RUB;2026-11-30 12:00:00;",
        GOOD,
    )
    assert [line.kind for line in all_of(statement)] == ["charge", "refund", "fee", "payout"]
