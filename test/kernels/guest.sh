#!/bin/sh
# Pid 1 of the virtual machine, on its overlay of the host's root: mounts what the settings ask for, runs doctor and the tests,
# and turns the machine off. Progress goes to the second serial port, results to /run/kernels.
B=/run/busybox
exec >/dev/ttyS1 2>&1 </dev/null
. /run/kernels/settings
export HOME=/root USER=root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb CI=1 NO_COLOR=1
# Everything takes some 20 times as long as on the processor itself.
export IMDS_TEST_PATIENCE=20

mkdir -p /dev/pts /dev/shm
mount -t devpts -o mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
mount -t tmpfs -o mode=1777 tmp /tmp
ln -sf /proc/self/fd /dev/fd
ln -sf /proc/self/fd/0 /dev/stdin
ln -sf /proc/self/fd/1 /dev/stdout
ln -sf /proc/self/fd/2 /dev/stderr
case $cgroup in
v2) mount -t cgroup2 cgroup2 /sys/fs/cgroup ;;
v1)
    mount -t tmpfs -o mode=755 cgroup /sys/fs/cgroup
    for controllers in cpu,cpuacct memory pids net_cls,net_prio; do
        mkdir -p "/sys/fs/cgroup/$controllers"
        mount -t cgroup -o "$controllers" cgroup "/sys/fs/cgroup/$controllers"
    done
    # From here on the kernel keeps the class of a socket where it kept its v2 group (before Linux 5.15).
    mkdir /sys/fs/cgroup/net_cls,net_prio/tests
    echo 0x100001 >/sys/fs/cgroup/net_cls,net_prio/tests/net_cls.classid
    echo $$ >/sys/fs/cgroup/net_cls,net_prio/tests/cgroup.procs
    ;;
esac
mount -t bpf -o mode=700 bpf /sys/fs/bpf
mount -t tracefs tracefs /sys/kernel/tracing
[ "$btf" = there ] || mount -t tmpfs -o mode=755 none /sys/kernel/btf
ip link set lo up
mount --bind "$project/node_modules" "$checkout/node_modules"
mount --rbind "$checkout" "$project"
cd "$project" || $B poweroff -f

echo "# $(uname -r), $(nproc) processors, cgroup $cgroup, BTF $btf"
"$node" dist/cli/main.js doctor --json >/run/kernels/doctor.json
echo "# doctor ended with $?"
# One process for all files: starting Node takes 10 to 20 s.
# shellcheck disable=SC2086
"$node" node_modules/vitest/vitest.mjs run --no-isolate --reporter=verbose --reporter=json \
    --outputFile.json=/run/kernels/tests.json $files
echo "# the tests ended with $?"
sync
$B poweroff -f
