"""`python -m gpurnn`."""

from gpurnn.cli import main

if __name__ == "__main__":
    main()
