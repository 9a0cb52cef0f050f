"""`python -m fcoslite`."""

from fcoslite.cli.app import main

if __name__ == "__main__":
    main()
