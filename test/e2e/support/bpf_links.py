"""Prints the ids of all BPF links of the machine, as JSON (bpf(2), BPF_LINK_GET_NEXT_ID)."""

import ctypes
import json
import platform

SYS_BPF = {"x86_64": 321, "aarch64": 280}[platform.machine()]
BPF_LINK_GET_NEXT_ID = 31

libc = ctypes.CDLL(None, use_errno=True)
links = []
attr = (ctypes.c_uint32 * 3)()
while libc.syscall(SYS_BPF, BPF_LINK_GET_NEXT_ID, attr, ctypes.sizeof(attr)) == 0:
    attr[0] = attr[1]
    links.append(attr[1])
print(json.dumps(links))
