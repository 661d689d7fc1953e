"""``python -m pageblock``."""

import sys

from .cli import main

sys.exit(main())
