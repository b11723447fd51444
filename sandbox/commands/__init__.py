"""What `make` starts: the whole system with a browser, the demo, the tour, and calls to a running system."""
