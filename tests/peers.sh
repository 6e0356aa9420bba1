#!/bin/sh
# Installs the servers the tests run against, where this may be done: from Debian's packages, and a few by Go, as root or
# by sudo. Where it may not, the tests that need one are skipped and name it. Nothing is started by installing.
set -eu

missing=""
need() { # need COMMAND PACKAGE...
    command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || { shift; missing="$missing $*"; }
}
need prometheus prometheus
need promtool prometheus
need prometheus-alertmanager prometheus-alertmanager
need amtool prometheus-alertmanager
need vmalert victoria-metrics
need prometheus-blackbox-exporter prometheus-blackbox-exporter
need prometheus-node-exporter prometheus-node-exporter
need nginx nginx-light
need apache2 apache2-bin
need haproxy haproxy
need gnutls-serv gnutls-bin
need redis-server redis-server
need mariadbd mariadb-server
need mariadb-install-db mariadb-server
ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || missing="$missing postgresql"
need pgbouncer pgbouncer
need dovecot dovecot-imapd dovecot-pop3d dovecot-submissiond
need slapd slapd
need rabbitmq-server rabbitmq-server
need chronyd chrony
need openssl openssl
need curl curl
need named bind9
need uwsgi uwsgi-core
[ -e /usr/lib/uwsgi/plugins/python3_plugin.so ] || missing="$missing uwsgi-plugin-python3"
need go golang-go
need buildah buildah
need podman podman
need runc runc
need conmon conmon
need debootstrap debootstrap
need chromium chromium
need chromedriver chromium-driver
need faketime faketime
need ip iproute2
need iptables iptables
need mount mount
need setpriv util-linux
need strace strace
need unshare util-linux
need nsenter util-linux
need systemd-analyze systemd

as_root=""
if [ "$(id -u)" != 0 ]; then
    as_root="sudo -n"
    command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null || {
        [ -z "$missing" ] || echo "cannot install (needs root or passwordless sudo):$missing" >&2
        exit 0
    }
fi
if [ -n "$missing" ] && ! command -v apt-get >/dev/null 2>&1; then
    echo "cannot install (not a Debian system):$missing" >&2
elif [ -n "$missing" ]; then
    # RUNLEVEL=1 keeps the packages' services from being started.
    # shellcheck disable=SC2086
    {
        $as_root apt-get update -qq
        $as_root env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
    } || echo "cannot install (apt-get failed):$missing" >&2
fi

# Debian does not have these.
need_go() { # need_go COMMAND PACKAGE
    command -v "$1" >/dev/null 2>&1 && return
    command -v go >/dev/null 2>&1 || return 0
    folder=$(mktemp -d)
    if GOBIN="$folder" go install "$2" 2>"$folder/log"; then
        program=${2%@*}
        $as_root install "$folder/${program##*/}" "/usr/local/bin/$1"
    else
        echo "cannot install (go install failed): $1" >&2
        tail -n 3 "$folder/log" >&2
    fi
    rm -rf "$folder"
}
need_go helm helm.sh/helm/v3/cmd/helm@v3.22.0
need_go compose-go github.com/compose-spec/compose-go/v2/cmd@v2.16.2
