"""``python -m operations``: the ``openv`` command without its script."""

from operations.cli import main

if __name__ == "__main__":
    main()
