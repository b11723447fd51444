"""Calls as they come: looked up, limited, refused on purpose, recorded, answered."""
