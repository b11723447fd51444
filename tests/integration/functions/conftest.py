from tests.integration.functions.test_edges import edges

__all__ = ["edges"]
