"""Google Cloud as operators' commands call it: a module an API, thin and typed, over its discovery document."""
