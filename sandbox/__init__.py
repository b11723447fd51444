"""Local stand-ins and the runner behind `make run`, `make demo` and the tests. Never deployed."""
