"""Becomes another program that dies with the process that started it: ``python tether.py PARENT_PID PROGRAM ARGS...``.

Linux sends SIGKILL when the parent ends, however it ends (``PR_SET_PDEATHSIG``, prctl(2)); the setting outlives exec.
It is a program of its own because code between fork and exec is unsafe in a process that has threads. The kernel
watches the *thread* that forked, so supervisors start children from their main thread. Elsewhere than on Linux this
only execs. Standard library only; it is run with ``-I -S`` to start in a few milliseconds.
"""

import os
import sys


def main() -> None:
    parent, program, arguments = int(sys.argv[1]), sys.argv[2], sys.argv[2:]
    if sys.platform == "linux":
        import ctypes
        import signal

        set_death_signal = 1  # PR_SET_PDEATHSIG in <linux/prctl.h>
        ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before the kernel knew what to do then
            sys.exit(1)
    try:
        os.execvp(program, arguments)  # noqa: S606 - no shell is wanted
    except OSError as error:
        sys.exit(f"can't start {program}: {error.strerror}")


if __name__ == "__main__":
    main()
