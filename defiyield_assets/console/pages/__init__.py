"""The pages, one module each: what is read and what is said.

A page is a function of a `View` and a `Question` that returns a `Page` (layout.py). It only reads, and only through the
view, so that all its tables are of one moment. app.py lists the pages with their addresses.
"""
