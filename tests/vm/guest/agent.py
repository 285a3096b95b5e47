"""Runs in the machine under test: one JSON line a command on a virtio-serial port, one JSON line back.

{"run": COMMAND, "limit_s": S, "input": BASE64} → {"status", "output", "error", "seconds", "now_s"}; `output` is BASE64.
With "behind": true the command goes on by itself and its process is told as `status`. {"ask": SOCKET, "line": TEXT} is
a line to a unix socket, and its answer is the output: what a program of its own would do costs an emulated machine
0.2 s of its processor at each look.
"""

import base64
import json
import os
import socket
import subprocess
import time

PORT = "/dev/virtio-ports/agent"
ASK_LIMIT_S = 10


def carry_out(order: dict) -> dict:
    answer = asked(order["ask"], order["line"]) if "ask" in order else ran(order)
    return answer | {"now_s": time.monotonic()}


def asked(path: str, line: str) -> dict:
    began, said, error = time.monotonic(), b"", ""
    try:
        with socket.socket(socket.AF_UNIX) as wire:
            wire.settimeout(ASK_LIMIT_S)
            wire.connect(path)
            wire.sendall(line.encode() + b"\n")
            with wire.makefile("rb") as answers:
                said = answers.readline()
    except OSError as refused:
        error = str(refused)
    return {
        "status": 0 if said else 1,
        "output": base64.b64encode(said).decode(),
        "error": error,
        "seconds": time.monotonic() - began,
    }


def ran(order: dict) -> dict:
    began = time.monotonic()
    if order.get("behind"):
        started = subprocess.Popen(["bash", "-c", order["run"]], stdin=subprocess.DEVNULL, start_new_session=True)
        return {"status": started.pid, "output": "", "error": "", "seconds": 0.0}
    try:
        done = subprocess.run(
            ["bash", "-c", order["run"]], input=base64.b64decode(order.get("input", "")), capture_output=True,
            timeout=order["limit_s"], check=False,
        )  # fmt: skip
        status, output, error = done.returncode, done.stdout, done.stderr.decode(errors="replace")
    except subprocess.TimeoutExpired as late:
        status, output, error = 124, late.stdout or b"", f"not done after {order['limit_s']} s"
    return {
        "status": status,
        "output": base64.b64encode(output).decode(),
        "error": error,
        "seconds": time.monotonic() - began,
    }


def main() -> None:
    with open(PORT, "r+b", buffering=0) as port:
        port.write(json.dumps({"up": os.uname().release, "uptime_s": time.monotonic()}).encode() + b"\n")
        waiting = b""
        while True:
            some = port.read(65536)
            if not some:  # nobody is connected on the other side
                time.sleep(0.05)
                continue
            waiting += some
            *lines, waiting = waiting.split(b"\n")
            for line in filter(None, lines):
                answer = memoryview(json.dumps(carry_out(json.loads(line))).encode() + b"\n")
                while answer:
                    answer = answer[port.write(answer) :]


main()
