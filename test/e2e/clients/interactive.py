"""A client on one kept connection that does what it is told, a line of standard input at a time:

  interactive.py ADDRESS

  connect           connect (again)
  get TARGET        send a request and read the answer
  fork TARGET       the same in a child process, which inherits the connection
  thread TARGET     connect and do the same in another thread
  drop TARGET       send a request and exit at once, without reading

Prints what it did and the pid that did it, a line each.
"""

import os
import socket
import sys
import threading

address = sys.argv[1]
sock = None


def connect():
    global sock
    sock = socket.create_connection((address, 80), timeout=10)


def get(target):
    sock.sendall(f"GET {target} HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
    data = b""
    while b"\r\n\r\n" not in data:
        data += sock.recv(65536)


def fork(target):
    child = os.fork()
    if child == 0:
        get(target)
        os._exit(0)
    os.waitpid(child, 0)
    return child


def thread(target):
    def run():
        connect()
        get(target)

    worker = threading.Thread(target=run, name="worker")
    worker.start()
    worker.join()


def drop(target):
    sock.sendall(f"GET {target} HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
    os._exit(0)


COMMANDS = {"connect": connect, "get": get, "fork": fork, "thread": thread, "drop": drop}

print("ready", os.getpid(), flush=True)
for line in sys.stdin:
    name, *arguments = line.split()
    pid = COMMANDS[name](*arguments) or os.getpid()
    print(name, pid, flush=True)
