import sys

from optimizer_baseline.cli import main

sys.exit(main())
