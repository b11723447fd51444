"""The control page: what the local system is doing, and buttons that let time pass, run sweeps and take the node down."""

from sandbox.control.app import Control

__all__ = ["Control"]
