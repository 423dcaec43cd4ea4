# SPDX-License-Identifier: Apache-2.0
"""The operator's network: between a guest's interface and QEMU's user network, it adds options to every DHCP answer,
sends router advertisements, owns a gateway that carries what is sent through it, and notes where each packet goes."""

import select
import socket
import struct
import threading
import time

GATEWAY, GATEWAY_MAC = "169.254.0.66", bytes.fromhex("525400666666")
NAME, DOMAIN = "operator-host", "operator.example"
DNS, NTP = "169.254.0.53", "169.254.0.123"
METADATA = "169.254.169.254"
RDNSS = "fec0::53"
SERVED = 443  # the port that the image serves: answers go to whoever asked
DHCP_END, DHCP_PAD = 255, 0


def address(text):
    return socket.inet_aton(text)


def names(*domains):
    return b"".join(bytes([len(label)]) + label.encode() for domain in domains for label in domain.split(".")) + b"\0"


OPTIONS = {
    6: address(DNS),
    12: NAME.encode(),
    15: DOMAIN.encode(),
    26: struct.pack(">H", 1400),
    33: address(METADATA) + address(GATEWAY),
    40: DOMAIN.encode(),
    42: address(NTP),
    44: address(DNS),
    66: NAME.encode(),
    67: b"operator.efi",
    100: b"EST5EDT",
    101: b"America/New_York",
    114: b"http://operator.example/",
    119: names(DOMAIN),
    120: b"\1" + address(DNS),
    # Classless static routes: the metadata service by a gateway of the operator's, and everything else.
    121: b"\x20" + address(METADATA) + address(GATEWAY) + b"\x00" + address(GATEWAY),
    252: b"http://operator.example/wpad.dat",
}


def checksum(data):
    total = sum(struct.unpack(f">{(len(data) + 1) // 2}H", data + bytes(len(data) % 2)))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def with_options(options):
    """The options of a DHCP answer, ours in place of or after those that are there."""
    kept, at = b"", 0
    while at < len(options) and options[at] != DHCP_END:
        if options[at] == DHCP_PAD:
            at += 1
            continue
        end = at + 2 + options[at + 1]
        kept += options[at:end] if options[at] not in OPTIONS else b""
        at = end
    return kept + b"".join(bytes([code, len(value)]) + value for code, value in OPTIONS.items()) + bytes([DHCP_END])


def altered(frame):
    """A frame from the network for the guest: a DHCP answer carries our options, anything else is as it was."""
    if frame[12:14] != b"\x08\0" or frame[23] != 17:
        return frame
    head = 14 + (frame[14] & 15) * 4
    if frame[head:head + 4] != struct.pack(">HH", 67, 68):
        return frame
    fixed = frame[head + 8:head + 8 + 240]
    payload = fixed + with_options(frame[head + 8 + 240:])
    udp = struct.pack(">HHHH", 67, 68, 8 + len(payload), 0) + payload
    ip = frame[14:16] + struct.pack(">H", head - 14 + len(udp)) + frame[18:24] + b"\0\0" + frame[26:head]
    return frame[:14] + ip[:10] + struct.pack(">H", checksum(ip)) + ip[12:] + udp


def advertisement():
    """A router advertisement: a default router, a resolver, a search domain, a route and a prefix."""
    prefix = socket.inet_pton(socket.AF_INET6, "fec0:6666::")
    body = struct.pack(">BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0) + b"\1\1" + GATEWAY_MAC
    body += struct.pack(">BBBBIII", 3, 4, 64, 0xc0, 1800, 1800, 0) + prefix
    body += struct.pack(">BBHI", 25, 3, 0, 1800) + socket.inet_pton(socket.AF_INET6, RDNSS)
    search = names(DOMAIN)
    search += bytes(-len(search) % 8)
    body += struct.pack(">BBHI", 31, 1 + len(search) // 8, 0, 1800) + search
    source, target = (socket.inet_pton(socket.AF_INET6, a) for a in ("fe80::66", "ff02::1"))
    pseudo = source + target + struct.pack(">II", len(body), 58)
    body = body[:2] + struct.pack(">H", checksum(pseudo + body)) + body[4:]
    head = struct.pack(">IHBB", 6 << 28, len(body), 58, 255)
    return b"\x33\x33\0\0\0\1" + GATEWAY_MAC + b"\x86\xdd" + head + source + target + body


class Network(threading.Thread):
    """Datagram sockets in `directory`; qemu() are the options that put a guest's interface behind them."""

    def __init__(self, directory):
        super().__init__(daemon=True)
        self.directory, self.sent, self.through_gateway, self.router = directory, set(), 0, None
        self.guest, self.outside = (self.bind(name) for name in ("guest", "outside"))
        self.over = False

    def bind(self, name):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        s.bind(str(self.directory / f"{name}.net"))
        return s

    def qemu(self, user):
        """`user`: the user network that is outside."""
        def side(name):
            return (f"dgram,id={name},local.type=unix,local.path={self.directory}/{name}.qemu,"
                    f"remote.type=unix,remote.path={self.directory}/{name}.net")
        return ["-netdev", user, "-netdev", "hubport,id=hub0,hubid=1,netdev=user", "-netdev", side("outside"),
                "-netdev", "hubport,id=hub1,hubid=1,netdev=outside", "-netdev", side("guest")]

    def run(self):
        due = 0.0
        while not self.over:
            for s in select.select([self.guest, self.outside], [], [], 0.5)[0]:
                frame = s.recv(65536)
                if s is self.guest:
                    self.from_guest(frame)
                else:
                    self.router = frame[6:12]
                    self.send("guest", altered(frame))
            if time.monotonic() > due:
                due = time.monotonic() + 10
                self.send("guest", advertisement())

    def from_guest(self, frame):
        if frame[12:14] == b"\x08\x06" and frame[38:42] == address(GATEWAY):
            self.send("guest",
                      frame[6:12] + GATEWAY_MAC + frame[12:20] + b"\0\2" + GATEWAY_MAC + frame[38:42] + frame[22:32])
            return
        if frame[12:14] == b"\x08\0" and frame[23] in (6, 17):
            source, port = struct.unpack_from(">HH", frame, 14 + (frame[14] & 15) * 4)
            if source != SERVED:
                self.sent.add((frame[23], socket.inet_ntoa(frame[30:34]), port))
        if frame[:6] == GATEWAY_MAC:
            self.through_gateway += 1
            frame = (self.router or frame[:6]) + frame[6:]
        self.send("outside", frame)

    def send(self, side, frame):
        try:
            (self.guest if side == "guest" else self.outside).sendto(frame, f"{self.directory}/{side}.qemu")
        except OSError:
            pass  # the machine is not there yet, or not any more

    def stop(self):
        self.over = True
        self.join()
        self.guest.close()
        self.outside.close()
