"""Opens a connection, asks once, and asks again on it for each file `/run/older/ask` until that has become `/run/older/end`."""
import http.client
import os
import time

connection = http.client.HTTPConnection("100.100.100.200", timeout=60)
os.makedirs("/run/older", exist_ok=True)


def ask(path):
    connection.request("GET", path)
    connection.getresponse().read()


ask("/latest/meta-data/?step=before")
open("/run/older/open", "w").close()
while not os.path.exists("/run/older/end"):
    if os.path.exists("/run/older/ask"):
        with open("/run/older/ask") as file:
            path = file.read().strip()
        os.remove("/run/older/ask")
        ask(path)
    time.sleep(0.2)
