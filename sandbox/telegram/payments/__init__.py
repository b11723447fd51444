"""Invoices, checkouts, charges in Stars and in money."""
