"""`make acceptance` and `make acceptance-sabotage`: what is proved, and whether the proofs can fail."""
