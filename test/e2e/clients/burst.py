"""Several processes that send requests as fast as they are answered.

  burst.py ADDRESS PORT WORKERS REQUESTS PER_CONNECTION [HEADER]

Each of WORKERS processes sends REQUESTS requests, at most PER_CONNECTION on a connection before it opens the next, to
/latest/meta-data/instance-id?worker=PID&n=NUMBER, each with HEADER if given. They start together.

Prints {"seconds": S, "workers": {PID: {"sent": N, "answered": N}}}.
"""

import json
import os
import socket
import sys
import time


def read_answer(sock):
    data = b""
    while True:
        more = sock.recv(65536)
        if not more:
            return False
        data += more
        head, blank, body = data.partition(b"\r\n\r\n")
        if blank:
            at = head.lower().index(b"content-length:") + len(b"content-length:")
            if len(body) >= int(head[at:].split(b"\r\n", 1)[0]):
                return True


def work(address, port, requests, per_connection, header, start, result):
    os.read(start, 1)  # returns when the parent closes its end
    counts = {"sent": 0, "answered": 0}
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    extra = f"{header}\r\n" if header else ""
    while counts["sent"] < requests:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.settimeout(20)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.connect((address, port))
            for _ in range(min(per_connection, requests - counts["sent"])):
                target = f"/latest/meta-data/instance-id?worker={os.getpid()}&n={counts['sent']}"
                sock.sendall(f"GET {target} HTTP/1.1\r\nHost: {address}\r\n{extra}\r\n".encode())
                counts["sent"] += 1
                counts["answered"] += read_answer(sock)
    os.write(result, (json.dumps([os.getpid(), counts]) + "\n").encode())  # shorter than PIPE_BUF: whole


def main():
    address, port, workers, requests, per_connection = sys.argv[1], *map(int, sys.argv[2:6])
    header = sys.argv[6] if len(sys.argv) > 6 else None
    start_read, start_write = os.pipe()
    result_read, result_write = os.pipe()
    children = []
    for _ in range(workers):
        pid = os.fork()
        if pid == 0:
            os.close(start_write)
            os.close(result_read)
            work(address, port, requests, per_connection, header, start_read, result_write)
            os._exit(0)
        children.append(pid)
    os.close(result_write)
    begun = time.monotonic()
    os.close(start_write)
    with os.fdopen(result_read) as lines:
        results = dict(json.loads(line) for line in lines)
    seconds = time.monotonic() - begun
    failed = [pid for pid in children if os.waitpid(pid, 0)[1] != 0]
    print(json.dumps({"seconds": seconds, "workers": results}))
    sys.exit(f"workers {failed} failed" if failed else 0)


main()
