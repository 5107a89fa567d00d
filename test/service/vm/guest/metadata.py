"""Answers like Alibaba Cloud's metadata service in normal mode: tokens by PUT, anything else with or without one."""
import os
import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self):
        self.answer(b"token-of-the-test==")

    def do_GET(self):
        self.answer(b"answer\n")

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("100.100.100.200", 80), Handler)
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
    manager.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
server.serve_forever()
