"""A real VPN node: Xray, the service beside it, an independent client and an origin server to pull bytes from."""
