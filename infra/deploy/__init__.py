"""`make deploy`, `make rollback`, `make destroy`: from a checkout to a running shop, release by release, and back.

A command is a row of steps, a module each (`steps`). A step first looks at the world, then says what it will change, then changes it;
it keeps no memory of its own, so a command that was stopped anywhere is started again and goes on where the world is.
"""
