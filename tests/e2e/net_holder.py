"""A user's program that holds leases and a private network of them, and does what its standard input says, a line of JSON each.

python net_holder.py NODE NODE ...        # a lease on each; says "open" when the network stands

{"run": [member, argv...]}     runs a command inside: says "ran" and its exit code and output
{"start": [member, argv...]}   starts one inside, and says its first line
{"finish": [member]}           waits for the end of what was started there last: its exit code, and the rest of its output
{"forward": [member, port]}    says the port of the loopback here
{"outside": [member, argv...]} runs one in the lease's lane, outside of the network
{"close": []}                  ends the network, and goes on
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from worldos import need, use
from worldos.errors import WorldError
from worldos.sdk.private_net import PrivateNet


def say(*words: object) -> None:
    print(json.dumps(words), flush=True)


def run(argv: list[str]) -> tuple[int, str]:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.returncode, (done.stdout + done.stderr).strip()


def start(argv: list[str]) -> str:
    started = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    vars(sys)["_last"] = started  # functions of this file are sent whole: what they share lies elsewhere
    assert started.stdout is not None
    return started.stdout.readline().strip()


def finish() -> tuple[int, str]:
    last: subprocess.Popen[str] = vars(sys)["_last"]
    assert last.stdout is not None
    said = last.stdout.read().strip()
    return last.wait(), said


def main() -> None:
    with use(*(need("CPU", 0.5, where=f"node == '{node}'") for node in sys.argv[1:])) as cpus:
        try:
            net = PrivateNet.open(cpus)
        except WorldError as error:
            say("refused", type(error).__name__, str(error), error.hint)
            return
        with net:
            say("open", [net.address(member) for member in range(len(net))])
            for line in sys.stdin:
                ((order, words),) = json.loads(line).items()
                say(order, obey(net, cpus, order, words))


def obey(net: PrivateNet, cpus: Any, order: str, words: list[Any]) -> Any:
    if order == "close":
        net.close()
        return None
    member, *rest = words
    if order == "forward":
        return net.forward(member, *rest)
    if order == "finish":
        return cpus[member].submit(finish).result(60)
    prefix = [] if order == "outside" else net.prefix(member)
    return cpus[member].submit(start if order == "start" else run, [*prefix, *rest]).result(60)


if __name__ == "__main__":
    main()
