#!/bin/sh
# The metadata address exists in the namespace `cloud` only, and the machine has no other network.
set -e
ip netns add cloud
ip link add imds type veth peer name cloud netns cloud
ip address add 10.9.9.2/30 dev imds
ip link set imds up
ip route add 100.100.100.200/32 via 10.9.9.1
ip link set lo up
ip netns exec cloud sh -e <<'IN'
ip link set lo up
ip address add 10.9.9.1/30 dev cloud
ip address add 100.100.100.200/32 dev lo
ip link set cloud up
IN
# A second namespace, like a container's.
ip netns add box
ip link add box type veth peer name inner netns box
ip address add 10.9.8.1/30 dev box
ip link set box up
ip netns exec box ip link set lo up
ip netns exec box ip address add 10.9.8.2/30 dev inner
ip netns exec box ip link set inner up
ip netns exec box ip route add default via 10.9.8.1
ip netns exec cloud ip route add 10.9.8.0/30 via 10.9.9.2
echo 1 >/proc/sys/net/ipv4/ip_forward
