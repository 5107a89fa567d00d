#!/bin/bash
# dev-tcp.sh ADDRESS PATH [HEADER]: bash alone, which writes a line at a time.
exec 3<>"/dev/tcp/$1/80" || exit 1
printf 'GET %s HTTP/1.1\r\n' "$2" >&3
printf 'Host: %s\r\n' "$1" >&3
[ -z "$3" ] || printf '%s\r\n' "$3" >&3
printf 'Connection: close\r\n' >&3
printf '\r\n' >&3
while read -r -t 10 line <&3; do got=1; done
[ -n "$got" ]
