"""
Sends a request of which the service gets other bytes than those that went out first. What sendfile(2) sends is not copied: a
retransmission takes what the file has by then. That the first attempt does not arrive is seen to by an IP option that routers and
hosts refuse (a source route); on the way through a router, a time to live of 1 does the same.

resend.py ADDRESS: reads {"first": TEXT, "then": TEXT} (of one length) from its input, prints the answer's first line.
"""

import json
import os
import socket
import sys
import tempfile
import time

texts = {name: text.encode("latin-1") for name, text in json.load(sys.stdin).items()}
assert len(texts["first"]) == len(texts["then"])
address = sys.argv[1]
with tempfile.TemporaryFile() as file, socket.create_connection((address, 80), timeout=10) as connection:
    file.write(texts["first"])
    file.flush()
    loose_source_route = bytes([0x83, 7, 4]) + socket.inet_aton(address) + b"\0"
    connection.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, loose_source_route)
    os.sendfile(connection.fileno(), file.fileno(), 0, len(texts["first"]))
    time.sleep(0.05)
    os.pwrite(file.fileno(), texts["then"], 0)
    connection.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, b"")
    print(connection.recv(65536).split(b"\r\n")[0].decode("latin-1"))
