"""The console: the treasury's own web page, server-rendered, on read-only queries.

Lives here: pages about money for analysts (pages/), how a request becomes one (serving.py), who may see it
(security.py). Not here: runs and assets (Dagster's UI), what a report says (domain/reporting), SQL (store). What needs
Dagster's room the command line hands over (desk.py says what).
"""
