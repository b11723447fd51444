"""The service beside Xray on a VPN node; the only thing that ever talks to Xray. Imports nothing else of Atlas."""

from typing import Final

__version__: Final = "0.1.0"
