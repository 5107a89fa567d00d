"""Sends exactly the given bytes in exactly the given calls.

Reads a plan from standard input, as JSON:

  {"address": "100.100.100.200", "port": 80,
   "mapped": false,      connect an IPv6 socket to the IPv4-mapped address
   "local_port": 0,      bind this port, each connection again
   "connections": [[ACTION, ...], ...]}    one after the other

Actions; text stands for bytes as latin1:
  ["send", TEXT]             one send call; TCP_NODELAY is on, so it is a packet of its own up to the MSS
  ["sendmsg", [TEXT, ...]]   one sendmsg call with so many buffers
  ["answers", N]             read N answers with their bodies
  ["end"]                    read until the service closes
  ["pause", SECONDS]
  ["reset"]                  close with a RST instead of a FIN

Prints {"pid": PID, "ports": [local port of each connection]}.
"""

import json
import os
import socket
import struct
import sys
import time


def read_answers(sock, count):
    data = b""
    while count:
        head, blank, rest = data.partition(b"\r\n\r\n")
        length = None
        if blank:
            length = 0
            for line in head.split(b"\r\n")[1:]:
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
        if length is not None and len(rest) >= length:
            data = rest[length:]
            count -= 1
            continue
        more = sock.recv(65536)
        if not more:
            sys.exit(f"the service closed with {count} answers still to come")
        data += more


def read_to_end(sock):
    while sock.recv(65536):
        pass


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


ACTIONS = {
    "send": lambda sock, text: sock.sendall(text.encode("latin1")),
    "sendmsg": lambda sock, texts: sock.sendmsg([text.encode("latin1") for text in texts]),
    "answers": read_answers,
    "end": read_to_end,
    "pause": lambda _, seconds: time.sleep(seconds),
    "reset": reset,
}


def connection(plan, actions):
    address = plan["address"]
    if plan.get("mapped"):
        address = "::ffff:" + address
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.settimeout(10)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if plan.get("local_port"):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("", plan["local_port"]))
        sock.connect((address, plan.get("port", 80)))
        port = sock.getsockname()[1]
        for name, *arguments in actions:
            ACTIONS[name](sock, *arguments)
        return port


plan = json.load(sys.stdin)
ports = [connection(plan, actions) for actions in plan["connections"]]
print(json.dumps({"pid": os.getpid(), "ports": ports}))
