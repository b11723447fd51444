"""A stand-in for the few REST calls to Google Cloud that operators' commands make (infra/google), for tests and rehearsals."""

from sandbox.google.stand_in import Google

__all__ = ["Google"]
