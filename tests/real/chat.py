#!/usr/bin/env python3
"""Users who chat through the core and the server; they know nothing of either but the RFCs.

usage: chat.py CORE_IP DOMAIN FACTORY NAME=IP NAME=IP...

The first user makes a conference of all (RFC 5366) at the factory. Everybody speaks, and the first
one watches who is in (RFC 4575). When they are more than two he asks for a nickname and says
something to one alone, and the last one leaves. The first leaves, and so does everybody in turn.

Prints one line for each thing that is not as wanted; exit status 1 if there was one.
"""

import queue
import re
import secrets
import socket
import sys
import threading

import msrp
from msrp import check

WAIT = 10.0  # seconds for one answer
TAG = "+g.oma.sip-im"
CONTENT = "\r\n\r\n"


def unique():
    return secrets.token_hex(8)


class Message:
    """A SIP message; of headers that may come more than once, all values."""

    def __init__(self, octets):
        head, _, self.body = octets.decode().partition(CONTENT)
        self.first, *lines = head.split("\r\n")
        self.headers = [tuple(line.split(": ", 1)) for line in lines if ": " in line]

    def all(self, name):
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        return values if name == "Via" else [one for value in values for one in value.split(", ")]

    def one(self, name):
        return next(iter(self.all(name)), "")

    @property
    def code(self):
        return int(self.first.split(" ")[1]) if self.first.startswith("SIP/2.0") else 0

    @property
    def method(self):
        return self.one("CSeq").split(" ")[1]

    @property
    def path(self):
        found = re.search(r"^a=path:(\S+)", self.body, re.M)
        return found[1] if found else ""


def tag(value):
    found = re.search(r";tag=([^;>]+)", value)
    return found[1] if found else ""


def uri(contact):
    return re.search(r"<([^>]+)>", contact)[1]


class Dialog:
    """One end of a dialog (RFC 3261 section 12)."""

    def __init__(self, call_id, local, remote, target, route):
        self.call_id, self.local, self.remote = call_id, local, remote
        self.target, self.route, self.cseq = target, route, 1


class User:
    """A user agent over UDP."""

    def __init__(self, name, ip, core, domain):
        self.name, self.ip, self.core, self.domain = name, ip, core, domain
        self.address = f"sip:{name}@{domain}"
        self.contact = f"<sip:{name}@{ip}:5060>;{TAG}"
        self.own = f"msrp://{ip}:7777/{unique()};tcp"
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((ip, 5060))
        self.answers, self.answered = {}, {}
        self.notified, self.ended, self.joined = queue.Queue(), queue.Queue(), queue.Queue()
        self.leg = self.dialog = None
        threading.Thread(target=self.read, daemon=True).start()

    # --- what comes ---

    def read(self):
        while True:
            octets = self.socket.recv(65535)
            if len(octets) < 10:
                continue
            message = Message(octets)
            if message.code:
                waiting = self.answers.get(message.one("Via").split("branch=")[-1].split(";")[0])
                if waiting and message.code >= 200:
                    waiting.put(message)
            else:
                self.request(message)

    def request(self, message):
        method = message.first.split(" ")[0]
        known = (message.one("Via"), method)
        if method == "ACK":
            self.joined.put(message)
        elif known in self.answered:
            self.send(self.answered[known])
        elif method == "INVITE":
            self.invited(message, known)
        else:
            self.answer(message, known, 200, "")
            if method == "NOTIFY":
                self.notified.put(message)
            elif method == "BYE":
                self.ended.put(message)

    def answer(self, message, known, code, more, body=""):
        to = message.one("To")
        to = to if tag(to) else f"{to};tag={self.name}"
        lines = [f"SIP/2.0 {code} Fine"]
        lines += [f"Via: {via}" for via in message.all("Via")]
        lines += [f"Record-Route: {route}" for route in message.all("Record-Route")]
        lines += [f"From: {message.one('From')}", f"To: {to}", f"Call-ID: {message.one('Call-ID')}"]
        lines += [f"CSeq: {message.one('CSeq')}", f"{more}Content-Length: {len(body)}"]
        self.answered[known] = ("\r\n".join(lines) + CONTENT + body).encode()
        self.send(self.answered[known])
        return to

    def invited(self, message, known):
        self.answer(message, known, 180, f"Contact: {self.contact}\r\n")
        more = f"Contact: {self.contact}\r\nContent-Type: application/sdp\r\n"
        to = self.answer(message, known, 200, more, self.description("active"))
        self.dialog = Dialog(
            message.one("Call-ID"), to, message.one("From"), uri(message.one("Contact")), message.all("Record-Route")
        )
        self.invitation = message

    # --- what goes ---

    def send(self, octets):
        self.socket.sendto(octets, (self.core, 5060))

    def description(self, setup):
        return (
            f"v=0\r\no={self.name} 1 1 IN IP4 {self.ip}\r\ns=-\r\nc=IN IP4 {self.ip}\r\nt=0 0\r\n"
            f"m=message 7777 TCP/MSRP *\r\na=accept-types:message/cpim\r\na=accept-wrapped-types:*\r\n"
            f"a=path:{self.own}\r\na=setup:{setup}\r\na=chatroom:nickname private-messages\r\n"
        )

    def ask(self, method, target, more="", body="", dialog=None):
        """Sends a request and waits for its final answer."""
        branch = f"z9hG4bK{unique()}"
        call_id, cseq, route = f"{unique()}@{self.ip}", 1, []
        local, remote = f"<{self.address}>;tag={unique()}", f"<{self.address if method == 'REGISTER' else target}>"
        if dialog:
            dialog.cseq += method != "ACK"
            call_id, cseq, route = dialog.call_id, dialog.cseq, dialog.route
            local, remote, target = dialog.local, dialog.remote, dialog.target
        lines = [f"{method} {target} SIP/2.0", f"Via: SIP/2.0/UDP {self.ip}:5060;rport;branch={branch}"]
        lines += [f"Route: {hop}" for hop in route]
        lines += ["Max-Forwards: 70", f"From: {local}", f"To: {remote}", f"Call-ID: {call_id}"]
        lines += [f"CSeq: {cseq} {method}", f"Contact: {self.contact}", "User-Agent: IM-client/OMA1.0 chat.py"]
        if method not in ("REGISTER", "ACK", "BYE"):
            lines += [f"Accept-Contact: *;{TAG}"]
        octets = ("\r\n".join(lines) + f"\r\n{more}Content-Length: {len(body)}" + CONTENT + body).encode()
        if method == "ACK":
            return self.send(octets)
        waiting = self.answers[branch] = queue.Queue()
        for wait in (0.5, 1, 2, WAIT):
            self.send(octets)
            try:
                return waiting.get(timeout=wait)
            except queue.Empty:
                continue
        raise EOFError(f"{self.name}: no answer to {method}")

    def register(self):
        got = self.ask("REGISTER", f"sip:{self.domain}", "Expires: 600\r\n")
        check(f"REGISTER of {self.name}", got.code == 200, got.first)

    def established(self, answer):
        """The dialog that a 2xx to a request of ours makes."""
        route = list(reversed(answer.all("Record-Route")))
        contact = uri(answer.one("Contact"))
        return Dialog(answer.one("Call-ID"), answer.one("From"), answer.one("To"), contact, route)

    def confer(self, factory, others):
        """A conference with others (RFC 5366)."""
        entries = "".join(f'<entry uri="{other.address}" cp:copyControl="to"/>' for other in others)
        resources = (
            '<?xml version="1.0" encoding="UTF-8"?>\r\n<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"'
            f' xmlns:cp="urn:ietf:params:xml:ns:copycontrol"><list>{entries}</list></resource-lists>'
        )
        body = (
            f"--cut\r\nContent-Type: application/sdp{CONTENT}{self.description('actpass')}\r\n"
            "--cut\r\nContent-Type: application/resource-lists+xml\r\nContent-Disposition: recipient-list"
            f"{CONTENT}{resources}\r\n--cut--\r\n"
        )
        more = "Require: recipient-list-invite\r\nContent-Type: multipart/mixed;boundary=cut\r\n"
        got = self.ask("INVITE", factory, more, body)
        check("INVITE to the factory", got.code == 200, got.first)
        check("the Contact of a focus", "isfocus" in got.one("Contact"), got.one("Contact"))
        self.dialog = self.established(got)
        self.dialog.cseq = 1
        self.ask("ACK", "", dialog=self.dialog)
        self.enter(got.path)

    def enter(self, path):
        self.leg = msrp.Peer({"uri": path, "peer": self.own, "participant": self.address})
        self.leg.bind()

    def leave(self):
        got = self.ask("BYE", "", dialog=self.dialog)
        check(f"BYE of {self.name}", got.code == 200, got.first)


def speak(users, room):
    """Everybody says something, and everybody else hears it."""
    for user in users:
        text = f"good morning from {user.name}".encode()
        user.leg.status("200", "SEND", *user.leg.message(user.leg.cpim(room, text)))
        for other in users:
            if other is not user:
                heard = other.leg.receives(text)
                check(f"who spoke to {other.name}", f"<{user.address}>".encode() in heard.body, heard.body)


def watch(user, users):
    """The conference state names everybody who is in."""
    more = "Event: conference\r\nExpires: 600\r\nAccept: application/conference-info+xml\r\n"
    got = user.ask("SUBSCRIBE", user.dialog.target, more)
    check("SUBSCRIBE", got.code == 200, got.first)
    state = user.notified.get(timeout=WAIT)
    check("the type of the state", state.one("Content-Type") == "application/conference-info+xml", state.headers)
    for one in users:
        check(f"{one.name} in the state", f'entity="{one.address}"' in state.body, state.body)


def told(user, of, word):
    """The next change of the state says this of somebody."""
    state = user.notified.get(timeout=WAIT)
    check(f"{of.name}: {word}", f'entity="{of.address}"' in state.body and word in state.body, state.body)


def chat(core, domain, factory, *names):
    users = [User(*name.split("="), core, domain) for name in names]
    for user in users:
        user.register()
    first, *others = users
    first.confer(factory, others)
    for other in others:
        other.joined.get(timeout=WAIT)
        other.enter(other.invitation.path)
        check("an invitation is from the focus", "isfocus" in other.invitation.one("Contact"))
    room = first.dialog.target
    speak(users, room)
    watch(first, users)
    if len(users) > 2:
        first.leg.status("200", "NICKNAME", 'Use-Nickname: "The first"\r\n')
        told(first, first, "The first")
        private = first.leg.cpim(others[0].address, b"for you alone")
        first.leg.status("200", "SEND", *first.leg.message(private))
        others[0].leg.receives(b"for you alone")
        last = users.pop()
        last.leave()
        told(first, last, "disconnected")
        speak(users, room)
    first.leave()
    if len(users) == 2:
        users[1].ended.get(timeout=WAIT)
    else:
        speak(users[1:], room)
        for user in users[1:-1]:
            user.leave()
        users[-1].ended.get(timeout=WAIT)
    for user in others:
        heard = [frame for frame in user.leg.connection.kept if b"for you alone" in frame.body]
        check(f"{user.name} heard what was not for him", not heard, heard)


def main():
    try:
        chat(*sys.argv[1:])
    except (OSError, EOFError, queue.Empty, AttributeError) as error:
        check("chat", False, error)
    return 1 if msrp.failures else 0


if __name__ == "__main__":
    sys.exit(main())
