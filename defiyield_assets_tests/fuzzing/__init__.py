"""Coverage-guided fuzzing of every parser: `python -m defiyield_assets_tests.fuzzing --seconds N [--target NAME]`.

Lives here: targets (answers.py, files.py, texts.py), the runner (__main__.py, worker.py) and inputs that once broke a
parser (found/), which test_found.py replays. Not here: random documents of known shape (sources/test_fuzz.py).
"""
