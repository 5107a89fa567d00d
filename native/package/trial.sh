#!/bin/bash
# trial.sh ROOT KIND PACKAGE GIVEN VERSION NATIVE: installs a package in a clean root, uses, upgrades and removes it. Runs in
# namespaces of its own (roots.mjs), so what it mounts goes with it. Prints a line for each thing seen to hold.
# KIND: deb, rpm or tarball. GIVEN: a folder with the same package of a higher version (newer), request.pcap, and for rpm a
# stand-in for the base system (base.rpm). NATIVE: 1 where this kernel is the programs' own, so
# that tracing can be tried.
set -euo pipefail
root=$1 kind=$2 package=$3 given=$4 version=$5 native=$6
scratch=$given # outside of the root

say() { echo "    $*"; }
fail() {
	echo "    FAILED: $*"
	exit 1
}
inside() { chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 "$@"; }
expect() { # STATUS COMMAND...
	local wanted=$1 got=0
	shift
	inside "$@" > "$scratch/out" 2>&1 || got=$?
	[ "$got" = "$wanted" ] || {
		cat "$scratch/out"
		fail "$* ended with $got, not $wanted"
	}
}
# Everything but what the package managers and the loader keep for themselves.
list() {
	find "$root" -xdev \( -path "$root/proc" -o -path "$root/sys" -o -path "$root/dev" -o -path "$root/run" -o -path "$root/tmp" \
		-o -path "$root/var/lib/dpkg" -o -path "$root/var/lib/rpm" -o -path "$root/var/log/dpkg.log" \) -prune \
		-o -printf '%P %y %m %U:%G %l\n' | sort
}
milliseconds() { # COMMAND...
	local from
	from=$(date +%s%N)
	"$@" > /dev/null
	echo $((($(date +%s%N) - from) / 1000000))
}

mount --bind "$root" "$root" # ip netns wants the root to be a mount
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
mkdir "$root/tmp/given"
cp "$package" "$given"/* "$root/tmp/given/"
package=$root/tmp/given/$(basename "$package")
given=$root/tmp/given
newer=$given/newer

# The root's database in rpm's usual place, whatever this machine's rpm is set to; it need not be of the root's processor.
debian=$(rpm --help 2> /dev/null | grep -om1 -- --force-debian) || true
force=(${debian:+"$debian"}) # Debian's own rpm wants to be asked twice
rpm_() { rpm --root "$root" --dbpath /var/lib/rpm "$@"; }

program=imds-tracer
case $kind in
deb)
	install() { inside dpkg -i "${1#"$root"}"; }
	upgrade() { install "$1"; }
	remove() { inside dpkg -r imds-tracer; }
	purge() { inside dpkg -P imds-tracer; }
	verify() { inside dpkg -V imds-tracer; }
	# shellcheck disable=SC2016 # dpkg-query's own notation
	installed() { inside dpkg-query -W -f '${Version} ${db:Status-Status}' imds-tracer 2>&1 || true; }
	;;
rpm)
	install() { rpm_ -i --ignorearch "${force[@]}" "$1"; }
	upgrade() { rpm_ -U --ignorearch "${force[@]}" "$1"; }
	remove() { rpm_ -e "${force[@]}" imds-tracer; }
	purge() { rm -rf "$root/etc/imds-tracer" "$root/var/log/imds"; } # what rpm leaves to the administrator
	verify() { rpm_ -V --nodeps imds-tracer; }
	installed() { rpm_ -q --qf '%{VERSION} installed' imds-tracer 2>&1 || true; }
	rpm_ --initdb
	# A clean rpm database knows of no C library: the package must ask for it, and for nothing that a base system lacks.
	if rpm_ -i --ignorearch "${force[@]}" "$package" > "$scratch/out" 2>&1; then fail "installed without the libraries it requires"; fi
	missing=$(sed -n 's/^\t\(.*\) is needed by .*/\1/p' "$scratch/out" | sort | paste -sd';')
	[ "$missing" = '/bin/sh;glibc >= 2.28;libgcc;libstdc++ >= 7' ] || {
		cat "$scratch/out"
		fail "requires $missing"
	}
	say "asks for: $missing"
	rpm_ -i "${force[@]}" "$given/base.rpm"
	;;
tarball)
	install() { tar -C "$root/opt" -xf "$1"; }
	remove() { rm -rf "${root:?}/opt/${folder:?}"; }
	folder=$(basename "$package" .tar.xz)
	program=/opt/$folder/imds-tracer
	;;
esac

for command in node npm gcc clang; do
	if inside which "$command" > /dev/null; then fail "the root is not clean: it has $command"; fi
done
list > "$scratch/before"

took=$(milliseconds install "$package")
say "installed in $took ms: $(inside du -sk --apparent-size "$(inside sh -c "dirname \$(readlink -f \$(command -v $program))")" | cut -f1) KiB"
expect 0 "$program" --version
[ "$(cat "$scratch/out")" = "$version" ] || fail "--version printed $(cat "$scratch/out")"
say "--version: $version, from start to end in $(milliseconds inside "$program" --version) ms"

if [ "$native" = 1 ]; then
	expect 0 "$program" doctor
	say "doctor: $(grep -c '^ok ' "$scratch/out") checks in order"
	expect 0 "$program" trace --lab --duration 3s --log-dir /tmp/log --evidence /tmp/lab.pcapng
	lines=$(grep -c WARNING "$scratch/out") || fail "trace --lab reported no request without a token"
	say "trace --lab: $lines requests without a token"
	expect 0 "$program" replay /tmp/lab.pcapng
	[ "$(grep -c WARNING "$scratch/out")" = "$lines" ] || fail "replay of the evidence found $(grep -c WARNING "$scratch/out") requests, not $lines"
	say "replay of the evidence that it wrote: the same $lines"
else
	expect 3 "$program" doctor # qemu-user has no bpf(2)
	grep -q 'no bpf(2) system call' "$scratch/out" || fail "doctor does not say that bpf(2) is missing"
	say "doctor: exit status 3, $(grep -c '^ok ' "$scratch/out") checks in order; this kernel has no bpf(2) system call [IMDS_E_NO_BPF]"
fi
expect 0 "$program" replay "${given#"$root"}/request.pcap"
grep -q 'WARNING.*GET /latest/meta-data/instance-id .*verdict:normal_mode status:200' "$scratch/out" || fail "replay did not report the request"
say "replay: $(grep WARNING "$scratch/out")"

if [ "$kind" != tarball ]; then
	expect 0 imds-tracer service install
	mkdir -p "$root/etc/imds-tracer" "$root/etc/systemd/system/imds_tracer_tool.service.d" "$root/var/log/imds"
	echo 'provider: [alibaba]' > "$root/etc/imds-tracer/config.yaml"
	cp "$root"/usr/lib/imds-tracer/systemd/*.conf "$root/etc/systemd/system/imds_tracer_tool.service.d/"
	echo evidence > "$root/var/log/imds/imds-trace.log"
	wanted=$root/etc/systemd/system/multi-user.target.wants/imds_tracer_tool.service
	[ -L "$wanted" ] || fail "service install did not enable the unit"
	verify || fail "files differ from the package's"
	say "files as in the package's list; service install enabled the unit"

	upgrade "$newer" > /dev/null
	case $(installed) in "$version".1*) ;; *) fail "after the upgrade: $(installed)" ;; esac
	expect 0 imds-tracer --version
	[ -L "$wanted" ] || fail "the upgrade disabled the unit"
	grep -q alibaba "$root/etc/imds-tracer/config.yaml" || fail "the upgrade lost the configuration"
	grep -q evidence "$root/var/log/imds/imds-trace.log" || fail "the upgrade lost the log"
	[ -e "$root/etc/systemd/system/imds_tracer_tool.service.d/libpcap.conf" ] || fail "the upgrade lost settings"
	verify || fail "files differ from the newer package's"
	say "upgraded to $(installed): still enabled; configuration, settings and log kept"

	remove > /dev/null
	[ ! -L "$wanted" ] || fail "a removed package is still enabled"
	[ -e "$root/etc/imds-tracer/config.yaml" ] || fail "a removal deleted the configuration"
	[ -e "$root/var/log/imds/imds-trace.log" ] || fail "a removal deleted the log"
	say "removed: disabled; configuration and log kept"
	purge > /dev/null
else
	remove
fi
rmdir "$root/etc/systemd/system/multi-user.target.wants" 2> /dev/null || true # made by enabling, systemd's own
list > "$scratch/after"
diff "$scratch/before" "$scratch/after" || fail "something is left behind"
say "nothing left behind"
