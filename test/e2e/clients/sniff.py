"""Counts the TCP packets of a network namespace, beside any BPF program: the truth that counters are held against.

  sniff.py INTERFACE ADDRESS

Prints "ready", counts the packets from and to ADDRESS (IPv4) until its standard input ends and no more packets have come
for 0.2 s, and prints {"all": N, "telling": N, "missed": N}: telling are those with payload, SYN, FIN or RST; missed is
what the kernel could not hand over (then the counts are worth nothing).
"""

import json
import select
import socket
import struct
import sys

ETH_P_ALL = 3
SOL_PACKET, PACKET_STATISTICS = 263, 6
SO_RCVBUFFORCE = 33
FIN, SYN, RST = 1, 2, 4

interface, address = sys.argv[1], socket.inet_aton(sys.argv[2])
# Without the link layer's header; of all protocols, because a socket of one protocol sees only what comes in.
sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
sock.bind((interface, ETH_P_ALL))
sock.setblocking(False)
print("ready", flush=True)

counts = {"all": 0, "telling": 0}
ending = False
while True:
    readable, _, _ = select.select([sock] if ending else [sock, sys.stdin], [], [], 0.2 if ending else None)
    if not readable and ending:
        break
    if sys.stdin in readable:
        ending = sys.stdin.readline() == ""
    if sock in readable:
        packet = sock.recv(128)
        if packet[0] >> 4 != 4 or packet[9] != socket.IPPROTO_TCP or address not in (packet[12:16], packet[16:20]):
            continue
        length = struct.unpack("!H", packet[2:4])[0]
        tcp = (packet[0] & 15) * 4
        payload = length - tcp - (packet[tcp + 12] >> 4) * 4
        counts["all"] += 1
        counts["telling"] += payload > 0 or packet[tcp + 13] & (FIN | SYN | RST) != 0
_, missed = struct.unpack("II", sock.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
print(json.dumps({**counts, "missed": missed}))
