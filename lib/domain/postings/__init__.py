"""Which fact is booked how (docs/postings.md): the table as data, and the one way to make a transfer of it."""

from lib.domain.postings.building import About, Amount, Amounts, clearing, posting
from lib.domain.postings.table import AMOUNTS, FACTS, Fact, Leg

__all__ = ["AMOUNTS", "FACTS", "About", "Amount", "Amounts", "Fact", "Leg", "clearing", "posting"]
