#!/usr/bin/env python3
"""MSRP peers that know nothing of the server but the RFCs, and what they check.

usage: msrp.py room LEGS.json              participants of a room of three or more (RFC 7701)
       msrp.py relay AUTH.json KEYLOG      clients of a relay (RFC 4976)
       msrp.py relays AUTH.json URI        two relays: the server and, at URI, another

At a relay the users alice and bob have the password "secret".

Prints one line for each thing that is not as wanted; exit status 1 if there was one.
"""

import hashlib
import json
import re
import secrets
import socket
import ssl
import sys

WAIT = 5.0  # seconds for one frame

failures = []


def check(what, holds, got=""):
    if not holds:
        failures.append(what)
        print(f"{what}: {got!r}")


class Frame:
    """One request or response (RFC 4975 section 9)."""

    def __init__(self, octets, identifier, flag):
        head, _, self.body = octets.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        self.id, self.flag = identifier, flag
        self.what = lines[0].split(" ")[2]
        self.headers = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)

    def __repr__(self):
        return f"{self.what} {self.headers} {self.body[:60]}"


class Connection:
    def __init__(self, uri, connect=None):
        scheme, host, port = re.match(r"(msrps?)://([^:/]+):(\d+)", uri).groups()
        address = connect.rsplit(":", 1) if connect else (host, port)
        self.socket = socket.create_connection((address[0], int(address[1])))
        if scheme == "msrps":
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            self.socket = context.wrap_socket(self.socket, server_hostname=host)
        self.socket.settimeout(WAIT)
        self.buffer, self.kept = b"", []

    def send(self, what, to_path, from_path, headers="", body=None, flag="$", identifier=None):
        identifier = identifier or secrets.token_hex(10)
        head = f"MSRP {identifier} {what}\r\nTo-Path: {to_path}\r\nFrom-Path: {from_path}\r\n{headers}"
        content = b"" if body is None else b"\r\n" + body + b"\r\n"
        self.socket.sendall(head.encode() + content + f"-------{identifier}{flag}\r\n".encode())
        return identifier

    def frame(self):
        while True:
            start = re.match(rb"MSRP ([^ ]+) ", self.buffer)
            if start:
                end = b"\r\n-------" + re.escape(start[1]) + rb"([$#+])\r\n"
                found = re.search(end, self.buffer)
                if found:
                    octets, self.buffer = self.buffer[: found.start()], self.buffer[found.end() :]
                    return Frame(octets, start[1].decode(), found[1].decode())
            more = self.socket.recv(65536)
            if not more:
                raise EOFError("the server has closed the connection")
            self.buffer += more

    def until(self, wanted):
        """The first frame that is wanted; SENDs are answered, and others are kept for later."""
        for frame in self.kept:
            if wanted(frame):
                self.kept.remove(frame)
                return frame
        while True:
            frame = self.frame()
            if frame.what == "SEND" and frame.headers.get("Failure-Report", "yes") == "yes":
                path = frame.headers
                self.send("200 OK", path["From-Path"].split(" ")[0], path["To-Path"], identifier=frame.id)
            if wanted(frame):
                return frame
            self.kept.append(frame)

    def answer(self, identifier):
        return self.until(lambda f: f.id == identifier and f.what.isdigit())


class Peer:
    """One end of a session that the server has prepared."""

    def __init__(self, leg):
        self.uri, self.own, self.participant = leg["uri"], leg["peer"], leg.get("participant")
        self.connection = Connection(self.uri)

    def ask(self, what, headers="", body=None, **more):
        to_path = more.pop("to_path", self.uri)
        identifier = self.connection.send(what, to_path, self.own, headers, body, **more)
        return self.connection.answer(identifier)

    def status(self, wanted, what, *arguments, **more):
        try:
            got = self.ask(what, *arguments, **more).what
        except (OSError, EOFError) as error:
            got = repr(error)
        check(f"{what} {arguments} {more}: wanted {wanted}", got == wanted, got)

    def message(self, body, content_type="message/cpim", message_id=None, range_=None, more=""):
        message_id = message_id or secrets.token_hex(8)
        range_ = range_ or f"1-{len(body)}/{len(body)}"
        return f"Message-ID: {message_id}\r\nByte-Range: {range_}\r\n{more}Content-Type: {content_type}\r\n", body

    def cpim(self, to, text, sender=None):
        head = f"From: <{sender or self.participant}>\r\nTo: <{to}>\r\nDateTime: 2025-01-01T00:00:00Z\r\n"
        return f"{head}\r\nContent-Type: text/plain\r\n\r\n".encode() + text

    def bind(self):
        self.status("200", "SEND", "Message-ID: bind\r\nByte-Range: 1-0/0\r\n")

    def receives(self, text):
        """The SEND with this text."""
        return self.connection.until(lambda f: f.what == "SEND" and text in f.body)


def room(path):
    with open(path, encoding="utf-8") as file:
        prepared = json.load(file)["rooms"][0]
    uri = prepared["uri"]
    peers = [Peer(leg) for leg in prepared["legs"]]
    for peer in peers:
        peer.bind()
    first, second, third = peers[:3]

    first.status("200", "SEND", *first.message(first.cpim(uri, b"good morning, all")))
    for peer in peers[1:]:
        got = peer.receives(b"good morning, all")
        paths = (got.headers["To-Path"], got.headers["From-Path"])
        check("paths of a copy", paths == (peer.own, peer.uri), paths)
        check("CPIM of a copy", got.body == first.cpim(uri, b"good morning, all"), got.body)

    private = first.cpim(second.participant, b"for you alone")
    first.status("200", "SEND", *first.message(private))
    check("a private message", second.receives(b"for you alone").body == private)

    more = "Failure-Report: no\r\nSuccess-Report: yes\r\n"
    headers, body = first.message(first.cpim(uri, b"a report, no response"), more=more)
    first.connection.send("SEND", first.uri, first.own, headers, body)
    report = first.connection.until(lambda f: f.what == "REPORT" or f.what.isdigit())
    check("a report alone", report.headers.get("Status", "").startswith("000 200"), report)

    chunked(first, peers[1:], uri)
    errors(first, second, third, uri)

    first.status("200", "NICKNAME", 'Use-Nickname: "Alice the great"\r\n')
    second.status("425", "NICKNAME", 'Use-Nickname: "alice the great"\r\n')
    second.status("424", "NICKNAME", "Use-Nickname: Alice\r\n")
    first.status("200", "NICKNAME", 'Use-Nickname: ""\r\n')
    third.status("200", "SEND", *third.message(third.cpim(uri, b"the last word")))
    for peer in (first, second):
        peer.receives(b"the last word")
        check("private message to others", not any(b"for you alone" in f.body for f in third.connection.kept))


def chunked(sender, others, uri):
    """A message in five chunks, with a success report."""
    body, message_id = sender.cpim(uri, b"0123456789" * 2000), secrets.token_hex(8)
    for start in range(0, len(body), 4096):
        piece = body[start : start + 4096]
        headers, _ = sender.message(
            piece, message_id=message_id, range_=f"{start + 1}-*/{len(body)}", more="Success-Report: yes\r\n"
        )
        last = start + 4096 >= len(body)
        got = sender.ask("SEND", headers, piece, flag="$" if last else "+").what
        check("a chunk", got == "200", got)
    for peer in others:
        whole = bytearray(len(body))
        while True:
            part = peer.connection.until(lambda f: f.headers.get("Message-ID") == message_id)
            start = int(part.headers["Byte-Range"].split("-")[0]) - 1
            whole[start : start + len(part.body)] = part.body
            if part.flag == "$":
                break
        check("a message in chunks", bytes(whole) == body, bytes(whole[:80]))
    report = sender.connection.until(lambda f: f.what == "REPORT")
    check("its report", report.headers["Message-ID"] == message_id, report)
    check("its status", report.headers["Status"].startswith("000 200"), report)


def errors(first, second, third, uri):
    first.status("415", "SEND", *first.message(b"plain", content_type="text/plain"))
    first.status("403", "SEND", *first.message(first.cpim(uri, b"x", sender=second.participant)))
    first.status("404", "SEND", *first.message(first.cpim("sip:nobody@example.invalid", b"x")))
    first.status("501", "DANCE", "Message-ID: dance\r\n")
    first.status("400", "SEND", "Message-ID: 1\r\nByte-Range: 9-1/x\r\nContent-Type: text/plain\r\n", b"x")
    nowhere = re.sub(r"/[^;]+", lambda m: m[0][:-4] + "zzzz", first.uri[8:])
    first.status("481", "SEND", *first.message(b"x"), to_path=first.uri[:8] + nowhere)
    stranger = Peer({"uri": third.uri, "peer": third.own})
    stranger.status("506", "SEND", "Message-ID: bind\r\nByte-Range: 1-0/0\r\n")


class Client:
    """A client of a relay: it asks for a URI and then has a path (RFC 4976 section 5.1)."""

    def __init__(self, uri, user, connect=None):
        self.relay, self.user = uri, user
        scheme = uri.split(":")[0]
        self.own = f"{scheme}://127.0.0.1:9/{secrets.token_hex(10)};tcp"
        self.connection = Connection(uri, connect)

    def auth(self, headers=""):
        return self.connection.answer(self.connection.send("AUTH", self.relay, self.own, headers))

    def credentials(self, challenge, password="secret"):
        field = dict(re.findall(r'(\w+)="?([^",]+)"?', challenge))
        digest = lambda text: hashlib.md5(text.encode()).hexdigest()
        ha1 = digest(f"{self.user}:{field['realm']}:{password}")
        response = digest(f"{ha1}:{field['nonce']}:00000001:cafe:auth:{digest('AUTH:' + self.relay)}")
        return (
            f'Authorization: Digest username="{self.user}", realm="{field["realm"]}", nonce="{field["nonce"]}", '
            f'uri="{self.relay}", qop=auth, nc=00000001, cnonce="cafe", response="{response}"\r\n'
        )

    def grant(self):
        got = self.auth()
        if got.what == "401":
            got = self.auth(self.credentials(got.headers["WWW-Authenticate"]))
        check("AUTH", got.what == "200", got)
        self.path = got.headers.get("Use-Path", "")
        return got

    def message(self, to_path, text, more=""):
        range_ = f"Byte-Range: 1-{len(text)}/{len(text)}\r\n"
        headers = f"Message-ID: {secrets.token_hex(8)}\r\n{range_}{more}Content-Type: text/plain\r\n"
        got = self.connection.answer(self.connection.send("SEND", to_path, self.own, headers, text))
        check(f"SEND to {to_path}", got.what == "200", got)


def arrives(sender, to_path, receiver, text):
    """`text` comes through, with the path back to its sender; answered, and then reported."""
    sender.message(to_path, text, more="Success-Report: yes\r\n")
    got = receiver.connection.until(lambda f: f.what == "SEND" and f.body == text)
    check("To-Path at its end", got.headers["To-Path"] == receiver.own, got)
    way, message_id = got.headers["From-Path"], got.headers["Message-ID"]
    check("From-Path at its end", way.split(" ")[-1] == sender.own, got)
    length = f"1-{len(text)}/{len(text)}"
    headers = f"Message-ID: {message_id}\r\nByte-Range: {length}\r\nStatus: 000 200 OK\r\n"
    receiver.connection.send("REPORT", way, receiver.own, headers)
    report = sender.connection.until(lambda f: f.what == "REPORT")
    check("the report of it", report.headers["Message-ID"] == message_id, report)


def account(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)["auth"]


def relay(path):
    auth = account(path)
    alice, bob = (Client(auth["uri"], user, auth["connect"]) for user in ("alice", "bob"))
    challenge = alice.auth()
    check("AUTH without credentials", challenge.what == "401", challenge)
    wrong = alice.auth(alice.credentials(challenge.headers["WWW-Authenticate"], "something else"))
    check("AUTH with a wrong password", wrong.what == "401", wrong)
    right = alice.credentials(wrong.headers["WWW-Authenticate"])
    bounds = alice.auth(right + "Expires: 1\r\n")
    check("Expires out of bounds", bounds.what == "423" and "Min-Expires" in bounds.headers, bounds)
    alice.grant()
    granted = bob.grant()
    check("the server's proof", "rspauth=" in granted.headers.get("Authentication-Info", ""), granted)
    check("Expires of a grant", granted.headers.get("Expires", "").isdigit(), granted)
    arrives(bob, f"{alice.path} {alice.own}", alice, b"through one relay")
    arrives(alice, f"{bob.path} {bob.own}", bob, b"and back through it")
    nobody = bob.connection.send("SEND", re.sub(r"/([^/;]+);", r"/zz\1;", bob.path) + " " + bob.own, bob.own,
                                 "Message-ID: 1\r\nByte-Range: 1-1/1\r\nContent-Type: text/plain\r\n", b"x")
    got = bob.connection.answer(nobody)
    check("a URI that was never granted", got.what == "481", got)


def relays(path, other):
    """Alice is behind the server, Bob behind the other relay: both send through both."""
    auth = account(path)
    alice = Client(auth["uri"], "alice", connect=auth["connect"])
    bob = Client(other, "bob")
    alice.grant()
    bob.grant()
    arrives(alice, f"{alice.path} {bob.path} {bob.own}", bob, b"from the server to the other relay")
    arrives(bob, f"{bob.path} {alice.path} {alice.own}", alice, b"from the other relay to the server")


def main():
    what, *arguments = sys.argv[1:]
    try:
        {"room": room, "relay": relay, "relays": relays}[what](*arguments)
    except (OSError, EOFError, KeyError) as error:
        check(what, False, error)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
