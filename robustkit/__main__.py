"""`python -m robustkit`."""

from robustkit.cli import main

main()
