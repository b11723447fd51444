"""The operators' desk for customers: who they are, their access and its history. Loaded when an operator comes."""
