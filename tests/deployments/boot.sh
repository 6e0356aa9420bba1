#!/bin/sh
# Becomes PID 1 of new namespaces, in which everything but empty temporary filesystems is read-only, and runs a program.
#   unshare --mount --pid --net --uts --ipc --cgroup --fork --kill-child boot.sh ROOT PYTHON PACKAGES CODE UNITS PROGRAM...
# ROOT is an empty folder. The next four folders appear as /opt/python, /opt/packages, /opt/code and /run/units.
set -eu
root=$1 python=$2 packages=$3 code=$4 units=$5
shift 5

mount --make-rprivate /
mount --bind / "$root" # without the filesystems that are mounted below it
mount -o remount,bind,ro "$root"
for folder in tmp run var opt dev mnt root home; do mount -t tmpfs -o mode=755 tmpfs "$root/$folder"; done
chmod 1777 "$root/tmp"
mkdir -p "$root/var/tmp" "$root/opt/python" "$root/opt/packages" "$root/opt/code" "$root/run/units" "$root/run/lock"
chmod 1777 "$root/var/tmp"
mount --bind "$python" "$root/opt/python"
mount --bind "$packages" "$root/opt/packages"
mount --bind "$code" "$root/opt/code"
for folder in python packages code; do mount -o remount,bind,ro "$root/opt/$folder"; done
cp -r "$units/." "$root/run/units"
mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
for device in null zero full random urandom tty; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/shm" "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ip link set lo up
cd "$root"
pivot_root . .
umount -l .
cd /
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin container=test SYSTEMD_UNIT_PATH=/run/units "$@"
