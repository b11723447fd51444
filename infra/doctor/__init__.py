"""`make doctor ENV=prod|dev|local`: looks at everything that a running shop stands on, changes nothing, and says what is wrong.

One module a subject, one list of all checks (`registry`); the table of them is docs/doctor.md.
"""
