"""Runs a command in a terminal that nobody reads; at the end of standard input, interrupts it and exits as it did."""

import os
import pty
import signal
import sys

pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
sys.stdin.read()
os.kill(pid, signal.SIGINT)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
