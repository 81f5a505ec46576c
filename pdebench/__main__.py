"""`python -m pdebench`."""

from pdebench.cli import main

main()
