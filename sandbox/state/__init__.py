"""What a local system keeps in its folder: ports, secrets, identities."""
