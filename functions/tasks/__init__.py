"""Functions that Cloud Tasks calls, one item each; IAM admits nobody else."""
