"""Where ``openv`` begins: before anything large is loaded, so that Ctrl-C is one calm line from the first moment on."""

import sys

INTERRUPTED = 130  # exit code: by Ctrl-C


def main() -> None:
    """Run the command line."""
    try:
        from operations.cli import command_line

        command_line()
    except (KeyboardInterrupt, SystemExit) as ended:
        if isinstance(ended, SystemExit) and ended.code != INTERRUPTED:
            raise
        sys.stderr.write("openv: interrupted.\n")
        sys.exit(INTERRUPTED)
