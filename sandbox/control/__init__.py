"""The control page: what the local system is doing, and buttons for time, sweeps, tasks, functions, and everything that can go wrong."""

from sandbox.control.app import Control

__all__ = ["Control"]
