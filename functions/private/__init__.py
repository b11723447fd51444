"""The service that serves every private function of a small shop."""
