"""Functions that Cloud Tasks calls, one item each; IAM admits no other caller."""
