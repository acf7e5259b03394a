#!/usr/bin/env python3
"""Sends requests no SIP stack would build and checks what comes back.

usage: raw.py LOCAL_IP SERVER_IP PORT

Every row is one request with one fault. The answer must have the status code, and a reason phrase
that names the faulty header. Prints one line for each row that fails; exit status 1 if any did.
"""

import re
import socket
import sys
import uuid

LOCAL, SERVER, PORT = sys.argv[1], sys.argv[2], int(sys.argv[3])
WAIT = 2.0  # seconds for one answer

GOOD = [
    ("Via", "SIP/2.0/{transport} {local}:{port};rport;branch=z9hG4bK{unique}"),
    ("Max-Forwards", "70"),
    ("To", "<sip:somebody@ims.test>"),
    ("From", "<sip:raw@ims.test>;tag={unique}"),
    ("Call-ID", "{unique}@raw"),
    ("CSeq", "1 MESSAGE"),
    ("Accept-Contact", "*;+g.oma.sip-im"),
    ("Content-Type", "text/plain"),
    ("Content-Length", "5"),
]

# (what, header, its value or None for "left out", transports, status, reason must match)
FAULTS = [
    ("no CSeq", "CSeq", None, "UDP TCP", 400, "CSeq"),
    ("CSeq without a number", "CSeq", "one MESSAGE", "UDP TCP", 400, "CSeq"),
    ("CSeq beyond 2**31", "CSeq", "36893488147419103232 MESSAGE", "UDP", 400, "CSeq"),
    ("CSeq of another method", "CSeq", "1 INVITE", "UDP", 400, "CSeq"),
    ("no Call-ID", "Call-ID", None, "UDP TCP", 400, "Call-ID"),
    ("no From", "From", None, "UDP", 400, "From"),
    ("From with an open quote", "From", '"raw <sip:raw@ims.test>;tag=1', "UDP", 400, "From"),
    ("no To", "To", None, "UDP", 400, "To"),
    ("To without a scheme", "To", "<somebody>", "UDP", 400, "To"),
    ("Max-Forwards over 255", "Max-Forwards", "4000", "UDP", 400, "Max-Forwards"),
    ("Content-Length over the datagram", "Content-Length", "4000", "UDP", 400, "Content-Length"),
    ("Content-Length below zero", "Content-Length", "-5", "UDP TCP", 400, "Content-Length"),
]


def request(transport, port, header="", value=""):
    """A MESSAGE that is right except for `header`."""
    unique = uuid.uuid4().hex
    lines = ["MESSAGE sip:somebody@ims.test SIP/2.0"]
    for name, good in GOOD:
        text = value if name == header else good
        if text is not None:
            text = text.replace("{unique}", unique).replace("{local}", LOCAL)
            text = text.replace("{transport}", transport).replace("{port}", str(port))
            lines.append(f"{name}: {text}")
    return ("\r\n".join(lines) + "\r\n\r\nhello").encode()


def connect(transport):
    kind = socket.SOCK_DGRAM if transport == "UDP" else socket.SOCK_STREAM
    link = socket.socket(socket.AF_INET, kind)
    link.settimeout(WAIT)
    link.bind((LOCAL, 0))
    link.connect((SERVER, PORT))
    return link


def status_line(link):
    """First line of the answer; what went wrong when there is none."""
    try:
        answer = link.recv(65535)
    except OSError as error:
        return f"nothing ({error})"
    return answer.split(b"\r\n", 1)[0].decode("utf-8", "replace") or "nothing (closed)"


def check(transport, header, value, status, reason):
    """None when the answer is as wanted, else what came."""
    with connect(transport) as link:
        link.sendall(request(transport, link.getsockname()[1], header, value))
        got = status_line(link)
    wanted = re.match(rf"SIP/2\.0 {status} .*{re.escape(reason)}", got)
    return None if wanted else got


def noise():
    """Octets that are no SIP at all: no answer is due, and the server must live on."""
    with connect("UDP") as link:
        for junk in (b"\x00" * 40, b"\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", bytes(range(256)) * 200):
            link.send(junk)
    with connect("TCP") as link:
        link.sendall(bytes(range(256)) * 200)


def main():
    failed = 0
    noise()
    for what, header, value, transports, status, reason in FAULTS:
        for transport in transports.split():
            got = check(transport, header, value, status, reason)
            if got is not None:
                failed += 1
                print(f"{what} over {transport}: wanted {status} naming {reason}, got {got}")
    return 1 if failed else 0


sys.exit(main())
