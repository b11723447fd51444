"""Settings from the environment. `plain` reads them (cheap, for every function); `check` lists all that is wrong."""
