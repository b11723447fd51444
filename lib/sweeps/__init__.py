"""How every sweep runs: one runner, pages, budgets, and an end line in every outcome."""
