"""Child processes that never outlive the process that asked for them."""
