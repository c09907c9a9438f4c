"""`python -m fastnst` is `fastnst`."""

import sys


def run() -> None:
    """Run the command line. Ctrl-C may come while it is still being imported."""
    try:
        from fastnst.cli import main  # noqa: PLC0415

        main()
    except KeyboardInterrupt:
        print("fastnst: stopped", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    run()
