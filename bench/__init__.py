"""`make bench`: what docs/performance.md promises, measured on one machine in one run."""
