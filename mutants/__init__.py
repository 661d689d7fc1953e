"""One rule of mm/ changed at a time, and which test or recorded kernel notices. ``python -m mutants``."""
