"""Hosts of a network on this machine: a network namespace each, on one bridge; their cables can be cut and made bad."""

import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TAG = f"df{os.getpid() % 100_000}"
SUBNET = f"10.213.{os.getpid() % 250}"


def why_not() -> str:
    """Why this machine can have none; empty where it can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    lacking = [
        name for name in ("ip", "nft") if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None
    ]
    return f"missing: {', '.join(lacking)}; run apt-get install iproute2 nftables" if lacking else ""


def system(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)


class Host:
    """One host.

    Attributes:
        address: of it.
        namespace: its name.
    """

    def __init__(self, number: int) -> None:
        self.namespace, self.address = f"{TAG}-{number}", f"{SUBNET}.{number + 10}"
        self.cable = f"{TAG}v{number}"
        system("ip", "netns", "add", self.namespace)
        system("ip", "link", "add", self.cable, "type", "veth", "peer", "name", "eth0", "netns", self.namespace)
        system("ip", "link", "set", self.cable, "master", TAG, "up")
        self.inside("ip", "link", "set", "lo", "up")
        self.inside("ip", "addr", "add", f"{self.address}/24", "dev", "eth0")
        self.inside("ip", "link", "set", "eth0", "up")

    def command(self, *command: str) -> list[str]:
        """What runs a command there."""
        return ["ip", "netns", "exec", self.namespace, *command]

    def inside(self, *command: str) -> None:
        system(*self.command(*command))

    def cut(self) -> None:
        """Pull its cable: nothing comes through, and nobody is told."""
        system("ip", "link", "set", self.cable, "down")

    def mend(self) -> None:
        """Plug it in again."""
        system("ip", "link", "set", self.cable, "up")

    def lose(self, percent: int) -> None:
        """Drop so many of its packets, both ways."""
        self.inside("nft", "add", "table", "inet", "loss")
        for hook in ("input", "output"):
            self.inside("nft", f"add chain inet loss {hook} {{ type filter hook {hook} priority 0; }}")
            way = "iifname" if hook == "input" else "oifname"
            self.inside("nft", f"add rule inet loss {hook} {way} eth0 numgen random mod 100 < {percent} drop")

    def name_addresses(self, name: str, addresses: list[str]) -> None:
        """What a name stands for on this host, from its next look on."""
        folder = Path("/etc/netns", self.namespace)
        folder.mkdir(parents=True, exist_ok=True)
        # Written in place: the host's /etc/hosts is a mount of this very file.
        (folder / "hosts").write_text("".join(f"{address} {name}\n" for address in addresses))

    def remove(self) -> None:
        subprocess.run(["ip", "netns", "delete", self.namespace], check=False, capture_output=True)
        subprocess.run(["ip", "link", "delete", self.cable], check=False, capture_output=True)
        shutil.rmtree(Path("/etc/netns", self.namespace), ignore_errors=True)


@contextmanager
def network() -> Iterator[Iterator[Host]]:
    """As many hosts as are asked for, with `next`; this process is on their network, too."""
    made: list[Host] = []

    def hosts() -> Iterator[Host]:
        for number in itertools.count():
            made.append(Host(number))
            yield made[-1]

    system("ip", "link", "add", TAG, "type", "bridge")
    try:
        system("ip", "addr", "add", f"{SUBNET}.1/24", "dev", TAG)
        system("ip", "link", "set", TAG, "up")
        yield hosts()
    finally:
        for host in made:
            host.remove()
        system("ip", "link", "delete", TAG)
