#!/bin/bash
# Runs in the machine, once at each boot. A line a step goes to the second serial port.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C
state=/var/lib/service-test
payload=/run/payload
unit=imds_tracer_tool
alias_unit=imds-tracer
logs=/var/log/imds
config=/etc/imds-tracer/config.yaml
address=100.100.100.200
mkdir -p $state
number=$(cat $state/number 2>/dev/null || echo 0)

say() { printf '%s\n' "$*" >/dev/ttyS1; }
note() { while IFS= read -r line; do say "# $line"; done; }

# step NAME COMMAND...: the command must succeed; what it prints is shown when it doesn't.
step() {
  local name=$1 begun=$SECONDS output
  shift
  number=$((number + 1))
  echo $number >$state/number
  if output=$("$@" 2>&1); then
    say "ok $number - $name ($((SECONDS - begun)) s)"
  else
    say "not ok $number - $name"
    { printf '%s\n' "$output"; journalctl -q -n 6 -o cat -u $unit; tail -n 3 $logs/imds-trace.log; } 2>&1 | tail -n 40 | cut -c -300 | note
  fi
}

skip() {
  number=$((number + 1))
  echo $number >$state/number
  say "ok $number - $1 # SKIP $2"
}

# within SECONDS COMMAND...: tries until it succeeds.
within() {
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    if ((SECONDS > end)); then
      echo "not in time: $*"
      "$@"
      return 1
    fi
    sleep 0.5
  done
}

property() { systemctl show $unit --value -p "$1"; }
pid() { property MainPID; }
active() { systemctl is-active --quiet $unit && systemctl is-active --quiet $alias_unit; }
other_pid() { active && [ "$(pid)" != "$1" ] && [ "$(pid)" != 0 ]; }
is() { [ "$2" = "$3" ] || { echo "$1 is $2, not $3"; return 1; }; }
absent() { local path; for path; do [ ! -e "$path" ] && [ ! -L "$path" ] || { echo "$path is there"; return 1; }; done; }

# The text line of a request, by what marks it.
line() { cat $logs/imds-trace.* | grep -F "step=$1 "; }
named() { line "$1" | grep -F "$2"; }
curl_one() { curl --silent --show-error --max-time 60 "http://$address/latest/meta-data/?step=$1"; }
# A request is in the log, with the program that made it.
seen() { curl_one "$1" && within 60 named "$1" "IMDSv1(!) (pid:" && named "$1" ":curl argv:curl "; }

# Every path of the root but what any boot and the package manager itself leave.
paths() {
  find / -xdev \( -path /tmp -o -path /var/tmp -o -path /root -o -path $state -o -path /var/lib/dpkg -o -path /var/log/dpkg.log \
    -o -path /var/lib/systemd -o -path /etc/machine-id -o -path /var/cache/ldconfig -o -path /usr/lib/modules \) -prune -o -print | sort
}

installed() { dpkg -i $payload/imds-tracer.deb && is state "$(systemctl is-enabled $unit)" disabled && ! active; }

rated() {
  systemd-analyze verify $unit.service || return 1
  local score
  score=$(systemd-analyze security --no-pager $unit.service | tail -n 1 | grep -oE '[0-9]+\.[0-9]')
  echo "# systemd-analyze security: $score" >>$state/notes
  [ "${score/./}" -le 20 ] || { echo "exposure $score"; return 1; }
}

enabled() { systemctl enable --now $unit && active; }

confined() {
  local status user
  status=$(cat "/proc/$(pid)/status") || return 1
  user=$(awk '$1 == "Uid:" { print $2 }' <<<"$status")
  [ "$user" -ge 61184 ] || { echo "user $user is no dynamic one"; return 1; }
  # CAP_DAC_READ_SEARCH 2, CAP_NET_ADMIN 12, CAP_SYS_PTRACE 19, CAP_PERFMON 38, CAP_BPF 39
  is CapEff "$(awk '$1 == "CapEff:" { print $2 }' <<<"$status")" 000000c000081004 &&
    is NoNewPrivs "$(awk '$1 == "NoNewPrivs:" { print $2 }' <<<"$status")" 1 &&
    is Seccomp "$(awk '$1 == "Seccomp:" { print $2 }' <<<"$status")" 2 &&
    grep -qF '"source":"ebpf"' $logs/imds-events.ndjson
}

other_user() {
  setpriv --reuid 4321 --regid 4321 --clear-groups curl -sS --max-time 60 "http://$address/latest/meta-data/?step=user" &&
    within 60 named user ":curl argv:" && grep -F step=user $logs/imds-events.ndjson | grep -F '"user":{"id":"4321"'
}

container() { ip netns exec box curl -sS --max-time 60 "http://$address/latest/meta-data/?step=box" && within 60 named box ":curl argv:curl "; }

token() {
  local token
  token=$(curl -sS --max-time 60 -X PUT -H 'X-aliyun-ecs-metadata-token-ttl-seconds: 60' "http://$address/latest/api/token?step=token") &&
    curl -sS --max-time 60 -H "X-aliyun-ecs-metadata-token: $token" "http://$address/latest/meta-data/?step=hardened" &&
    within 60 named hardened verdict:hardened && within 60 named token verdict:token_issue &&
    ! grep -rF token-of-the-test $logs
}

ask_older() { echo "/latest/meta-data/?step=$1" >/run/older/ask; }
# Whether there is time to look for its process depends on the machine's speed: that is only noted.
older_judged() {
  ask_older older
  within 60 named older verdict:normal_mode || return 1
  echo "# a request on a connection from before the start:" \
    "$(named older ':python3 argv:' >/dev/null && echo "its process is named" || line older | grep -o 'via:.*')" >>$state/notes
}

restarted() { local before; before=$(pid); systemctl restart $unit && other_pid "$before" && seen restarted; }
killed() { local before; before=$(pid); kill -KILL "$before" && within 120 other_pid "$before" && seen killed; }

# Takes the logs away, as an outside logrotate does.
rotate() { rm -rf $state/rotated && mkdir $state/rotated && mv $logs/imds-trace.log $logs/imds-events.ndjson $state/rotated; }

reloaded() {
  local before
  before=$(pid)
  rotate && systemctl reload $unit && within 20 test -e $logs/imds-trace.log &&
    is pid "$(pid)" "$before" && seen reloaded && grep -qF step=reloaded $logs/imds-trace.log
}

reload_refused() {
  local before
  before=$(pid)
  cp $config $state/config && echo 'provder: aws' >$config && systemctl reload $unit && within 30 status_shows provder && is pid "$(pid)" "$before" && active && seen refused || return 1
  cp $state/config $config && systemctl reload $unit && within 30 status_shows requests && is pid "$(pid)" "$before"
}
status_shows() { imds-tracer service status | grep "^says: .*$1"; }

# `systemctl reload` comes back when it is done, so there is nothing to wait for.
reload_waited() {
  is type "$(property Type)" notify-reload || return 1
  local before
  before=$(pid)
  for _ in 1 2 3; do
    rotate && systemctl reload $unit && test -e $logs/imds-trace.log && test -e $logs/imds-events.ndjson || { echo "it came back early"; return 1; }
  done
  is pid "$(pid)" "$before" && seen waited
}

# From another host: the address is that of the machine, not its loopback. Without the setting systemd lets nothing through.
scraped() {
  local answer
  printf 'provider: alibaba\nmetrics: 0.0.0.0:9464\n' >$config
  systemctl restart $unit && curl -sS --max-time 60 http://127.0.0.1:9464/healthz || return 1
  ip netns exec box curl -sS --max-time 5 http://10.9.8.1:9464/healthz && { echo "it can be reached as it is"; return 1; }
  imds-tracer service install && test -e /etc/systemd/system/$unit.service.d/network.conf || return 1
  answer=$(ip netns exec box curl -sS --max-time 60 http://10.9.8.1:9464/metrics) && grep '^imds_tracer_' <<<"$answer"
}

hung() {
  local before
  before=$(pid)
  kill -STOP "$before" && within 240 other_pid "$before" && journalctl -q -o cat -u $unit | grep -i watchdog && seen hung
}

# Seconds that the machine has been suspended since its start.
slept() { python3 -c 'from time import *; print(int(clock_gettime(CLOCK_BOOTTIME) - clock_gettime(CLOCK_MONOTONIC)))'; }

losses() { cat $logs/imds-trace.* | grep -c capture-loss; }

# Suspended to memory amid traffic until the clock in its hardware wakes it; a connection is open all the while. (QEMU wakes a
# machine from ACPI's S3 so, not from the idle one.)
suspended() {
  local before lost asleep asking older clock=/sys/class/rtc/rtc0
  before=$(pid)
  lost=$(losses)
  rm -rf /run/older
  python3 $payload/older.py & older=$!
  within 120 test -e /run/older/open
  asleep=$(slept)
  for i in {1..20}; do curl_one "asleep-$i" >/dev/null || echo "no answer to $i"; done & asking=$!
  within 60 named asleep-3 verdict:normal_mode || return 1
  echo deep >/sys/power/mem_sleep && echo $(($(cat $clock/since_epoch) + 60)) >$clock/wakealarm && echo mem >/sys/power/state || return 1
  wait $asking
  asleep=$(($(slept) - asleep))
  echo "# suspended to memory for $asleep s" >>$state/notes
  [ $asleep -ge 30 ] && is pid "$(pid)" "$before" && active || return 1
  for i in {1..20}; do within 60 named "asleep-$i" ":curl argv:curl " || return 1; done
  ask_older older-asleep && within 60 named older-asleep ":python3 argv:python3 " || return 1
  touch /run/older/end
  wait $older
  is requests "$(cat $logs/imds-trace.* | grep -c 'step=asleep-\|step=older-asleep')" 21 && is losses "$(losses)" "$lost"
}

misconfigured() {
  mkdir -p /etc/imds-tracer && echo 'provder: aws' >$config
  systemctl restart $unit && { echo "it started"; return 1; }
  within 20 systemctl is-failed --quiet $unit && is ExecMainStatus "$(property ExecMainStatus)" 2 || return 1
  sleep 10
  is "restarts" "$(systemctl is-active $unit)" failed || return 1
  echo 'provider: alibaba' >$config
  chmod 600 $config
  systemctl restart $unit && active && seen configured
}

upgraded() {
  local before
  before=$(pid)
  dpkg -i $payload/imds-tracer-upgrade.deb && other_pid "$before" && is version "$(imds-tracer --version)" "$(dpkg-query -W -f '${Version}' imds-tracer)" &&
    is configuration "$(cat $config)" 'provider: alibaba' && systemctl is-enabled --quiet $unit && seen upgraded
}

status_says() { local text; text=$(imds-tracer service status) || { echo "$text"; return 1; }; grep -x 'enabled: yes' <<<"$text" && grep -x 'state: active' <<<"$text" && grep 'says: .*requests' <<<"$text"; }

installed_twice() {
  imds-tracer service install || return 1
  local before
  before=$(pid)
  imds-tracer service install | grep -x 'installed already' && is pid "$(pid)" "$before" && active
}

uninstalled_twice() {
  imds-tracer service uninstall && ! active && imds-tracer service uninstall | grep 'was not installed' &&
    absent /etc/systemd/system/$unit.service /etc/systemd/system/$unit.service.d /etc/systemd/system/$alias_unit.service \
      /etc/systemd/system/multi-user.target.wants/$unit.service && ! imds-tracer service status && is failed "$(systemctl --failed -q | grep -c $unit)" 0 &&
    imds-tracer service install && active
}

through_pcap() {
  echo 'source: pcap' >$config
  imds-tracer service install && test -e /etc/systemd/system/$unit.service.d/libpcap.conf && active &&
    curl_one pcap && within 60 line pcap && tail -n 20 $logs/imds-events.ndjson | grep -qF '"source":"pcap"'
}

through_ebpf() {
  echo 'provider: alibaba' >$config
  imds-tracer service install && absent /etc/systemd/system/$unit.service.d/libpcap.conf && active && seen ebpf
}

early() {
  within 60 named early verdict:normal_mode && named early ":curl argv:/usr/bin/curl " && named early unit:cloud-init-local.service || return 1
  local ready asked
  ready=$(systemctl show $unit --value -p ActiveEnterTimestampMonotonic)
  asked=$(systemctl show cloud-init-local.service --value -p ExecMainStartTimestampMonotonic)
  echo "# ready $((ready / 1000)) ms after the kernel's start, cloud-init-local.service ran at $((asked / 1000)) ms, basic.target at" \
    "$(($(systemctl show basic.target --value -p ActiveEnterTimestampMonotonic) / 1000)) ms" >>$state/notes
  [ "$ready" -le "$asked" ]
}

removed() {
  dpkg -r imds-tracer && ! active && absent /etc/systemd/system/$unit.service /etc/systemd/system/$alias_unit.service \
    /etc/systemd/system/multi-user.target.wants/$unit.service /usr/lib/imds-tracer /usr/bin/imds-tracer &&
    test -s $logs/imds-trace.log && is 'load state' "$(property LoadState)" not-found
}

purged() {
  dpkg -P imds-tracer || return 1
  paths >$state/after
  diff $state/before $state/after
}

notes() { [ ! -e $state/notes ] || while IFS= read -r line; do say "$line"; done <$state/notes; rm -f $state/notes; }

if [ ! -e $state/second-boot ]; then
  say "# $(systemctl --version | head -n 1), $(uname -r)"
  paths >$state/before
  step "the package installs and starts nothing" installed
  step "the unit is without fault, and rated 2.0 or lower" rated
  python3 $payload/older.py & older=$!
  within 120 test -e /run/older/open
  step "enabled and started, it is active under both names" enabled
  step "it runs as a user of its own with five capabilities, and captures by eBPF" confined
  step "a request is in the log with its process" seen first
  step "so is another user's" other_user
  step "so is one from another network namespace" container
  step "a token request and a hardened one are; the token is not" token
  step "a request on a connection from before the start is judged" older_judged
  touch /run/older/end
  wait $older
  step "service status says so" status_says
  step "restart" restarted
  step "reload opens the logs anew in the same process" reloaded
  step "kill -9: it comes back" killed
  step "SIGSTOP: the watchdog restarts it" hung
  step "suspended to memory and woken: it goes on in the same process, and nothing is missing" suspended
  step "a wrong configuration: it fails and is not tried again; mended, and for root only, it is read" misconfigured
  step "a wrong configuration at a reload: it says so and goes on as before" reload_refused
  step "a higher version takes over where it runs and keeps the configuration" upgraded
  step "service install twice: the second changes nothing" installed_twice
  if [ "$(systemctl --version | awk 'NR == 1 { print $2 }')" -ge 253 ]; then
    step "reload comes back when the logs are opened anew" reload_waited
  else
    skip "reload comes back when the logs are opened anew" "Type=notify-reload came with systemd 253"
  fi
  step "metrics for other hosts: service install lets them through" scraped
  step "service uninstall twice: nothing of it is left" uninstalled_twice
  step "source: pcap: service install gives it what libpcap needs" through_pcap
  step "and takes it back" through_ebpf
  notes
  touch $state/second-boot
  systemctl reboot
else
  step "after a boot it is active" active
  step "the request of a unit like cloud-init's is in the log with its process" early
  step "with libpcap's setting written" through_pcap
  step "removed: stopped, its files and links gone, the logs there" removed
  step "purged: every path is as before" purged
  notes
  say "1..$number"
  systemctl poweroff
fi
