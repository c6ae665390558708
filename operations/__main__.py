"""``python -m operations``: the ``openv`` command without its script."""

from operations.entry import main

if __name__ == "__main__":
    main()
