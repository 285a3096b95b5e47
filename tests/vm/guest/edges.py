"""Which edges of a button the station is told while it is pressed: edges.py PROCESS SOCKET LINE NAME PULL told|deaf

`deaf`: the line's edge detection is taken away first, by the line's own descriptor, of which the station knows nothing;
then only reading the level again can see that press. Prints a JSON list: true for each edge down, false for each up.
"""

import array
import ctypes
import fcntl
import json
import os
import socket
import struct
import sys
import threading
import time

# linux/gpio.h: struct gpio_v2_line_config is flags, num_attrs, padding[5], attrs[10] of 24 bytes.
CONFIG = struct.Struct("=Q6I240x")
SET_CONFIG = 3 << 30 | CONFIG.size << 16 | 0xB4 << 8 | 0x0D
INPUT_WITH_PULL_UP = 1 << 2 | 1 << 8
PIDFD_GETFD = 438
DOWN_S, AFTER_S = 0.6, 0.6


def without_edges(process: int, line: int) -> None:
    lines = f"/proc/{process}/fdinfo"
    libc = ctypes.CDLL(None, use_errno=True)
    for name in os.listdir(lines):
        with open(f"{lines}/{name}") as file:
            owned = [row.split()[1] for row in file if row.startswith("gpio-line:")]
        if owned == [str(line)]:
            pidfd = os.pidfd_open(process)
            descriptor = libc.syscall(PIDFD_GETFD, pidfd, int(name), 0)
            if descriptor < 0:
                raise OSError(ctypes.get_errno(), f"pidfd_getfd of descriptor {name}")
            asked = array.array("B", CONFIG.pack(INPUT_WITH_PULL_UP, 0, 0, 0, 0, 0, 0))
            fcntl.ioctl(descriptor, SET_CONFIG, asked)
            os.close(descriptor)
            os.close(pidfd)
            return
    raise SystemExit(f"process {process} has no descriptor of line {line}")


def set_pull(path: str, pull: str) -> None:
    with open(path, "w") as file:
        file.write(pull)


def main() -> None:
    process, path, line, name, pull, told = sys.argv[1:]
    if told == "deaf":
        without_edges(int(process), int(line))
    edges = []
    with socket.socket(socket.AF_UNIX) as station:
        station.connect(path)
        station.sendall(b'{"command": "edges"}\n')

        def follow() -> None:
            with station.makefile() as said:
                edges.extend(edge["value"] for edge in map(json.loads, said) if edge.get("line") == name)

        follower = threading.Thread(target=follow)
        follower.start()
        time.sleep(0.3)  # the station has no answer to say that it follows
        set_pull(pull, "pull-down")
        time.sleep(DOWN_S)
        set_pull(pull, "pull-up")
        time.sleep(AFTER_S)
        station.shutdown(socket.SHUT_RDWR)
        follower.join(5)
    print(json.dumps(edges))


main()
