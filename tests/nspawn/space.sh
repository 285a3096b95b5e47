#!/usr/bin/env bash
# What a container with systemd needs, without an emulated machine: one pure cgroup hierarchy, and a tree that may be
# written to over one that stays as it is: space.sh LOWER UPPER WORK MERGED COMMAND...
# To be run by `unshare --mount --pid --fork --kill-child --mount-proc`: all that is mounted here ends with it, and so does
# the container (killing nspawn alone would leave that running).
set -euo pipefail
lower=$1 upper=$2 work=$3 merged=$4
shift 4

mount --make-rprivate /
# nspawn wants one pure hierarchy, which the machine itself need not have.
while mountpoint -q /sys/fs/cgroup; do umount -R /sys/fs/cgroup; done
mount -t cgroup2 cgroup2 /sys/fs/cgroup
# A group of its own: units of the same name in two containers would share one, and neither could see it empty.
find /sys/fs/cgroup -maxdepth 1 -name 'intercom-??????' -mmin +1 -exec grep -qx 'populated 0' '{}/cgroup.events' ';' \
    -exec find '{}' -depth -type d -exec rmdir '{}' ';' ';' 2>/dev/null || true
echo 0 >"$(mktemp -d /sys/fs/cgroup/intercom-XXXXXX)/cgroup.procs"
mkdir -p "$upper" "$work" "$merged"
mount -t overlay overlay -o "lowerdir=$lower,upperdir=$upper,workdir=$work" "$merged"
exec "$@"
