"""Each sabotage still finds what it breaks: an edit of that line elsewhere is noticed with it, and not when it is broken next."""

from __future__ import annotations

import pytest

from tests.acceptance.breaking import ROOT, Sabotage, load


@pytest.mark.parametrize("sabotage", load(), ids=lambda sabotage: f"{sabotage.identifier} {sabotage.file}")
def test_what_a_sabotage_breaks_stands_once_in_its_file(sabotage: Sabotage) -> None:
    assert (ROOT / sabotage.file).read_text().count(sabotage.find) == 1
    assert sabotage.find != sabotage.replace
