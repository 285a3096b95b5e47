#!/usr/bin/env bash
# Boots systemd in a container, without an emulated machine: boot.sh LOWER UPPER WORK MERGED [NSPAWN-OPTION...]
# To be run by `unshare --mount --pid --fork --kill-child --mount-proc`: all that is mounted here ends with it, and so does
# the container (killing nspawn alone would leave that running).
set -euo pipefail
lower=$1 upper=$2 work=$3 merged=$4
shift 4

mount --make-rprivate /
# nspawn wants one pure hierarchy, which the machine itself need not have.
while mountpoint -q /sys/fs/cgroup; do umount -R /sys/fs/cgroup; done
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p "$upper" "$work" "$merged"
mount -t overlay overlay -o "lowerdir=$lower,upperdir=$upper,workdir=$work" "$merged"
exec systemd-nspawn --quiet --directory="$merged" --register=no --keep-unit --boot --console=read-only \
    --private-network --link-journal=no "$@"
