"""What every stand-in is built on: a server on loopback, an HTTP client, one clock, delivery faults."""
