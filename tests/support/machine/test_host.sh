#!/usr/bin/env bash
# A Debian machine for tests of the deployment, reachable over SSH; it has its own processes, network and root.
#
#   test_host.sh start FOLDER    boots one; FOLDER gets ssh_config and inventory.ini; prints the path of the latter
#   test_host.sh boot FOLDER     boots it again after it was shut down from inside
#   test_host.sh stop FOLDER     ends it and removes everything but the base
#
# INIT=systemd (default) boots systemd by systemd-nspawn. INIT=none runs only sshd below a process that reaps, as on a host
# without a service manager; its package scripts start nothing. The base is made once by debootstrap, in BASES
# (~/.cache/tapedeck-test-host); a machine is an overlay on it. The way to package indexes is taken from the caller: apt's
# mirrors and proxies, the name server, additional certificates, and the variables of proxies and pip.
# Needs root on Debian or Ubuntu. Exit code 77: a machine cannot be made here, and the reason is printed.
set -euo pipefail

INIT=${INIT:-systemd}
BASES=${BASES:-${XDG_CACHE_HOME:-$HOME/.cache}/tapedeck-test-host}
SUITE=bookworm
NUMBERS=/run/tapedeck-test-host  # one folder for each machine that runs; its number is in the addresses

say() { echo "test host: $*" >&2; }
cannot() { say "$*"; exit 77; }

require_tools() {
    [ "$(id -u)" = 0 ] || cannot "only root can make a machine"
    command -v apt-get >/dev/null || cannot "there is no apt here"
    local missing=()
    local pair
    for pair in debootstrap:debootstrap ip:iproute2 iptables:iptables ssh-keygen:openssh-client systemd-nspawn:systemd-container; do
        [ -n "$(PATH=$PATH:/usr/sbin:/sbin command -v "${pair%%:*}")" ] || missing+=("${pair##*:}")
    done
    [ ${#missing[@]} = 0 ] && return
    say "installing ${missing[*]}"
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"; } \
        >/dev/null 2>&1 || cannot "${missing[*]} cannot be installed"
}

sources() {  # apt's lines for the suite, from the mirrors of this machine
    # The quoted words are apt's format, not variables of this shell.
    # shellcheck disable=SC2016
    apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) main' 'Created-By: Packages' 'Component: main' |
        grep -E " $SUITE(-updates|-security)? " | sort -u || true
}

make_base() {  # once; two at a time wait for each other
    local base=$1 mirror packages
    mkdir -p "$BASES"
    exec 9>"$base.lock"
    flock 9
    [ ! -e "$base/.complete" ] || { exec 9>&-; return; }
    mirror=$(sources | grep " $SUITE " | awk 'NR == 1 {print $2}')
    mirror=${mirror:-http://deb.debian.org/debian}
    say "making $base from $mirror, once: one to five minutes"
    rm -rf --one-file-system "$base"
    packages=python3,python3-venv,openssh-server,sudo,ca-certificates,iproute2,procps,cron,util-linux
    [ "$INIT" = none ] || packages+=,systemd,systemd-sysv,dbus
    debootstrap --variant=minbase --include="$packages" "$SUITE" "$base" "$mirror" >"$base.log" 2>&1 ||
        cannot "debootstrap failed, see $base.log"
    rm -f "$base"/etc/ssh/ssh_host_* "$base"/etc/machine-id "$base"/var/cache/apt/archives/*.deb
    touch "$base/.complete"
    exec 9>&-
}

copy_ways() {  # to package indexes
    local root=$1 file name
    cp -L /etc/resolv.conf "$root/etc/resolv.conf"
    [ -z "$(sources)" ] || sources >"$root/etc/apt/sources.list"
    for file in /etc/apt/apt.conf.d/*proxy*; do [ ! -e "$file" ] || cp "$file" "$root/etc/apt/apt.conf.d/"; done
    for file in /usr/local/share/ca-certificates/*.crt; do
        [ ! -e "$file" ] || cp "$file" "$root/usr/local/share/ca-certificates/"
    done
    chroot "$root" update-ca-certificates >/dev/null 2>&1
    for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY PIP_INDEX_URL PIP_DEFAULT_TIMEOUT; do
        [ -z "${!name:-}" ] || echo "$name=${!name}"
    done >>"$root/etc/environment"
    for name in PIP_CERT SSL_CERT_FILE REQUESTS_CA_BUNDLE; do
        echo "$name=/etc/ssl/certs/ca-certificates.crt"
    done >>"$root/etc/environment"
}

allow_ssh() {
    local root=$1 folder=$2 address=$3
    ssh-keygen -q -t ed25519 -N '' -C tapedeck-test -f "$folder/key"
    ssh-keygen -q -t ed25519 -N '' -C tapedeck-test -f "$root/etc/ssh/ssh_host_ed25519_key"
    chroot "$root" useradd --create-home --shell /bin/bash admin
    install -m 440 /dev/stdin "$root/etc/sudoers.d/admin" <<<'admin ALL=(ALL) NOPASSWD: ALL'
    install -d -m 700 "$root/home/admin/.ssh"
    install -m 600 "$folder/key.pub" "$root/home/admin/.ssh/authorized_keys"
    chroot "$root" chown -R admin:admin /home/admin
    printf 'ListenAddress %s\nPasswordAuthentication no\nUseDNS no\n' "$address" >"$root/etc/ssh/sshd_config.d/test.conf"
    echo "$address $(cut -d' ' -f1,2 "$root/etc/ssh/ssh_host_ed25519_key.pub")" >"$folder/known_hosts"
    cat >"$folder/ssh_config" <<CONFIG
Host $address
    User admin
    IdentityFile $folder/key
    IdentitiesOnly yes
    UserKnownHostsFile $folder/known_hosts
    StrictHostKeyChecking yes
CONFIG
    cat >"$folder/inventory.ini" <<INVENTORY
[tapedeck]
$address

[all:vars]
ansible_ssh_common_args=-F $folder/ssh_config
app_init=$INIT
host_time_service=none
INVENTORY
}

connect() {  # a pair of interfaces, and addresses translated on the way out
    local number=$1 outside=10.198.$1.1 inside=10.198.$1.2
    ip netns add "tapedeck$number"
    ip link add "tapedeck$number" type veth peer name eth0 netns "tapedeck$number"
    ip addr add "$outside/30" dev "tapedeck$number"
    ip link set "tapedeck$number" up
    ip -n "tapedeck$number" link set lo up
    ip -n "tapedeck$number" addr add "$inside/30" dev eth0
    ip -n "tapedeck$number" link set eth0 up
    ip -n "tapedeck$number" route add default via "$outside"
    [ -e "$NUMBERS/ip_forward" ] || cp /proc/sys/net/ipv4/ip_forward "$NUMBERS/ip_forward"
    echo 1 >/proc/sys/net/ipv4/ip_forward
    iptables -t nat -A POSTROUTING -s "10.198.$number.0/30" ! -d 10.198.0.0/16 -j MASQUERADE
}

boot_systemd() {
    local root=$1 number=$2
    setsid systemd-nspawn --quiet --directory="$root" --boot --machine="tapedeck$number" --register=no --keep-unit \
        --console=pipe --resolv-conf=off --timezone=off --kill-signal=SIGRTMIN+3 \
        --network-namespace-path="/run/netns/tapedeck$number" </dev/null >"$folder/console.log" 2>&1 9>&- &
    echo $! >"$folder/pid"
}

boot_sshd() {
    local root=$1 number=$2
    printf '#!/bin/sh\nexit 101\n' | install -m 755 /dev/stdin "$root/usr/sbin/policy-rc.d"
    install -m 755 /dev/stdin "$root/sbin/test-init" <<'INIT'
#!/bin/bash
mkdir -p /run/sshd /run/lock
trap 'kill -TERM -1; sleep 1; exit 0' TERM INT
/usr/sbin/cron -f & /usr/sbin/sshd -D -e &
while :; do wait -n || sleep 0.2; done
INIT
    # shellcheck disable=SC2016
    root=$root setsid ip netns exec "tapedeck$number" unshare --mount --pid --uts --ipc --fork --kill-child \
        --propagation private bash -ec '
            hostname test-host
            mount -t proc proc "$root/proc"
            mount -t sysfs -o ro sysfs "$root/sys"
            mount --rbind /dev "$root/dev"
            mount -t tmpfs -o mode=755 tmpfs "$root/run"
            exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root chroot "$root" /sbin/test-init
        ' </dev/null >"$folder/console.log" 2>&1 9>&- &
    echo $! >"$folder/pid"
}

start() {
    local number root=$folder/root
    require_tools
    make_base "$BASES/$SUITE-$INIT"
    mkdir -p "$NUMBERS" "$folder"/{upper,work,root}
    for number in {1..250}; do mkdir "$NUMBERS/$number" 2>/dev/null && break; done
    echo "$number" >"$folder/number"
    trap 'code=$?; [ $code = 0 ] || stop' EXIT
    mount -t overlay overlay -o "lowerdir=$BASES/$SUITE-$INIT,upperdir=$folder/upper,workdir=$folder/work" "$root" ||
        cannot "an overlay cannot be mounted on $folder"
    echo test-host >"$root/etc/hostname"
    : >"$root/etc/machine-id"
    printf '127.0.0.1 localhost\n127.0.1.1 test-host\n' >"$root/etc/hosts"
    copy_ways "$root"
    allow_ssh "$root" "$folder" "10.198.$number.2"
    connect "$number" || cannot "network interfaces cannot be made here"
    boot
}

boot() {
    local number root=$folder/root
    number=$(cat "$folder/number")
    if [ "$INIT" = systemd ]; then boot_systemd "$root" "$number"; else boot_sshd "$root" "$number"; fi
    for _ in $(seq 300); do
        if ssh -F "$folder/ssh_config" -o ConnectTimeout=2 -o BatchMode=yes "10.198.$number.2" true 2>/dev/null; then
            echo "$folder/inventory.ini"
            return
        fi
        kill -0 "$(cat "$folder/pid")" 2>/dev/null || { tail -n 20 "$folder/console.log" >&2; cannot "the machine ended"; }
        sleep 0.2
    done
    tail -n 20 "$folder/console.log" >&2
    cannot "no SSH after a minute"
}

stop() {
    local number pid
    [ -e "$folder/number" ] || return 0
    number=$(cat "$folder/number")
    if [ -s "$folder/pid" ]; then
        pid=$(cat "$folder/pid")
        kill -TERM "$pid" 2>/dev/null || true
        for _ in $(seq 150); do kill -0 "$pid" 2>/dev/null || break; sleep 0.2; done
        kill -KILL "$pid" 2>/dev/null || true
    fi
    iptables -t nat -D POSTROUTING -s "10.198.$number.0/30" ! -d 10.198.0.0/16 -j MASQUERADE 2>/dev/null || true
    ip link del "tapedeck$number" 2>/dev/null || true
    ip netns del "tapedeck$number" 2>/dev/null || true
    for _ in $(seq 50); do
        mountpoint -q "$folder/root" || break
        umount "$folder/root" 2>/dev/null || sleep 0.2
    done
    mountpoint -q "$folder/root" && { say "$folder/root is still mounted"; return 1; }
    rm -rf --one-file-system "$folder"
    rmdir "$NUMBERS/$number" 2>/dev/null || true
    if [ "$(ls "$NUMBERS")" = ip_forward ]; then
        cat "$NUMBERS/ip_forward" >/proc/sys/net/ipv4/ip_forward
        rm -r "$NUMBERS"
    fi
}

[ $# = 2 ] || { sed -n '2,/^set/p' "$0" | sed '$d; s/^# \{0,1\}//' >&2; exit 2; }
mkdir -p "$2"
folder=$(realpath "$2")
case $1 in
start) start ;;
boot) boot ;;
stop) stop ;;
*) exit 2 ;;
esac
