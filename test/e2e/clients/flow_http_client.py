"""flow_http_client.py ADDRESS: asks for a token, uses it, then goes without, all on one connection of http.client."""

import http.client
import sys

connection = http.client.HTTPConnection(sys.argv[1], timeout=10)


def ask(path, headers={}, method="GET"):
    connection.request(method, path, headers=headers)
    return connection.getresponse().read().decode()


token = ask("/latest/api/token", {"X-aliyun-ecs-metadata-token-ttl-seconds": "60"}, "PUT")
ask("/latest/meta-data/instance-id", {"X-aliyun-ecs-metadata-token": token})
ask("/latest/meta-data/hostname")
