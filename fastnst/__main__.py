"""`python -m fastnst` is `fastnst`."""

from fastnst.cli import main

main()
