"""flow_urllib.py ORIGIN: asks for a token, uses it, then goes without, each request with urllib."""

import sys
import urllib.request

origin = sys.argv[1]


def ask(path, headers={}, method="GET"):
    request = urllib.request.Request(origin + path, headers=headers, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read().decode()


token = ask("/latest/api/token", {"X-aliyun-ecs-metadata-token-ttl-seconds": "60"}, "PUT")
ask("/latest/meta-data/instance-id", {"X-aliyun-ecs-metadata-token": token})
ask("/latest/meta-data/hostname")
