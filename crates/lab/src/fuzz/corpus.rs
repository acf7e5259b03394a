//! Inputs to start from that are written for this project; a caller adds those of the RFCs.

/// Requests and responses as a core and its UEs send them, and bodies by themselves.
pub fn own() -> Vec<Vec<u8>> {
    let text = |text: &str| text.replace('\n', "\r\n").into_bytes();
    let mut all: Vec<Vec<u8>> = [MESSAGE, REGISTER, INVITE, ANSWER, MULTIPART].map(text).to_vec();
    all.extend([SDP, CPIM, PARTS, IMDN, MSRP].map(text));
    all.extend([LISTS, CONFERENCE, GROUP, SETTINGS, COMPOSING, REGINFO, SIPFRAG].map(text));
    all.extend(VALUES.iter().map(|value| value.as_bytes().to_vec()));
    all.push(crate::core::SHIPPED_CRITERIA.as_bytes().to_vec());
    all.extend(super::msrp_node::corpus());
    all
}

const MESSAGE: &str = "MESSAGE tel:+15550000002 SIP/2.0
Route: <sip:im-term@192.0.2.20:5081;lr>, <sip:iscmark@192.0.2.13:6060;lr;s=3;h=0;d=1;a=7369>
P-Served-User: <tel:+15550000002>;sescase=term;regstate=reg
Record-Route: <sip:192.0.2.13:6060;lr;ftag=1>
Via: SIP/2.0/UDP 192.0.2.13:6060;branch=z9hG4bK8c84.0
Via: SIP/2.0/TCP [2001:db8::9]:5070;branch=z9hG4bK-1;received=2001:db8::9;rport=5070
Max-Forwards: 64
f: \"A. \\\"B\\\" C\" <sip:alice%20b@ims.test;user=phone>;tag=96de6a
t: <tel:+15550000002>
i: d9898a8ff96b44e8912d1bbde7381e44
CSeq: 1 MESSAGE
a: *;+g.oma.sip-im;require,
 *;audio=\"TRUE\";q=0.2
P-Asserted-Identity: <sip:alice@ims.test>, <tel:+15550000001>
P-Charging-Vector: icid-value=\"8e48\";icid-generated-at=192.0.2.11;orig-ioi=home
Privacy: id;critical
Date: Mon, 21 Sep 2026 14:13:20 GMT
Expires: 60
Content-Type: text/plain;charset=\"utf-8\"
Content-Length: 2

hi";

const REGISTER: &str = "REGISTER sip:im-reg@192.0.2.20:5082 SIP/2.0
Via: SIP/2.0/UDP 192.0.2.13:6060;branch=z9hG4bK60c8
To: <sip:alice@ims.test>
From: <sip:192.0.2.13:6060>;tag=9afb
CSeq: 10 REGISTER
Call-ID: 1e0b@192.0.2.13
Event: registration
Max-Forwards: 10
Expires: 720
Path: <sip:192.0.2.13:6060;lr>,<sip:term@192.0.2.11:5060;lr>
Contact: <sip:192.0.2.13:6060>
P-Associated-URI: <sip:alice@ims.test, tel:+15550000001>
Authorization: Digest username=\"alice\",realm=\"ims.test\",nonce=\"3163\",nc=00000001,
 qop=auth,uri=\"sip:ims.test\",response=\"4cc8f251d066d20eaf8b742f9e05c186\",algorithm=MD5
Content-Type: message/sip
Content-Length: 249

REGISTER sip:ims.test SIP/2.0
Via: SIP/2.0/UDP 192.0.2.41:5060;branch=z9hG4bK-3166
From: <sip:alice@ims.test>;tag=1
To: <sip:alice@ims.test>
Call-ID: 1@192.0.2.41
CSeq: 2 REGISTER
Contact: <sip:alice@192.0.2.41>;+g.oma.sip-im;expires=600

";

const INVITE: &str = "INVITE sip:bob@ims.test SIP/2.0
Via: SIP/2.0/TLS client.example:5061;branch=z9hG4bK-3262-1-0
Max-Forwards: 70
From: <sip:alice@ims.test>;tag=1
To: <sip:bob@ims.test>
Call-ID: 1-3262@192.0.2.41
CSeq: 1 INVITE
Contact: <sip:alice@192.0.2.41:5060>;+g.oma.sip-im;+sip.instance=\"<urn:uuid:0000>\"
Allow: INVITE, ACK, CANCEL, BYE, MESSAGE
Supported: timer, 100rel
Session-Expires: 1800;refresher=uac
Min-SE: 90
Require: 100rel
Proxy-Require: sec-agree
Refer-To: <sip:carol@ims.test?Replaces=1%3Bto-tag%3D2>
Replaces: 1;to-tag=2;from-tag=3
Reason: SIP;cause=200;text=\"done\"
Content-Type: application/sdp
Content-Length: 0

";

const ANSWER: &str = "SIP/2.0 202 Accepted
Via: SIP/2.0/UDP 192.0.2.13:6060;branch=z9hG4bK727e
From: <sip:alice@ims.test>;tag=1
To: <sip:bob@ims.test>;tag=2
Call-ID: 1
CSeq: 1 MESSAGE
Warning: 399 im.ims.test \"133 Size exceeded, limit 1300\"
Retry-After: 30 (soon);duration=5
WWW-Authenticate: Digest realm=\"a\", nonce=\"b\", qop=\"auth,auth-int\", stale=true
Content-Length: 0

";

const MULTIPART: &str = "MESSAGE sip:bob@ims.test SIP/2.0
Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKm
From: <sip:a@b>;tag=1
To: <sip:c@d>
Call-ID: 2
CSeq: 1 MESSAGE
Content-Type: multipart/mixed;boundary=\"x y\"

--x y
Content-Type: text/plain
Content-Disposition: render;handling=optional

one
--x y
Content-Type: message/sip

OPTIONS sip:h SIP/2.0

--x y--
";

const SDP: &str = "v=0
o=- 1 1 IN IP4 192.0.2.41
s=-
c=IN IP4 192.0.2.41
t=0 0
m=message 2855 TCP/MSRP *
a=accept-types:message/cpim text/plain
a=path:msrp://192.0.2.41:2855/s3262;tcp
a=file-selector:name:\"a b.jpg\" type:image/jpeg size:4092 hash:sha-1:72:24
a=file-transfer-id:Q6LMoGymJdh0IKIgD6wD0jkcfgva4xvE
a=file-disposition:render
a=file-date:creation:\"Mon, 15 May 2006 15:01:31 +0300\" read:\"x\"
a=file-icon:cid:id2@192.0.2.41
a=file-range:1-4092
a=chatroom:nickname private-messages com.example.chat.foo
a=fingerprint:sha-1 4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:7C:AB
a=msrp-cema
a=setup:actpass
";

const CPIM: &str = "From: \"Al\" <im:alice@ims.test>
To: <im:bob@ims.test>
DateTime: 2026-09-21T14:13:20Z
NS: imdn <urn:ietf:params:imdn>
imdn.Message-ID: 34jk
imdn.Disposition-Notification: positive-delivery, negative-delivery
Subject:;lang=fr une \\u00e9preuve

Content-Type: text/plain

hello";

const PARTS: &str = "--b
Content-Type: multipart/mixed;boundary=c

--c

deep
--c--
--b--";

const IMDN: &str = "<?xml version=\"1.0\"?>
<imdn xmlns=\"urn:ietf:params:xml:ns:imdn\"><message-id>34jk</message-id>
<datetime>2026-09-21T14:13:20Z</datetime>
<delivery-notification><status><failed/></status></delivery-notification></imdn>";

const LISTS: &str = "<resource-lists xmlns=\"urn:ietf:params:xml:ns:resource-lists\"
 xmlns:cp=\"urn:ietf:params:xml:ns:copycontrol\"><list name=\"a\">
<entry uri=\"sip:bob@ims.test\" cp:copyControl=\"to\"><display-name>Bob</display-name></entry>
<entry uri=\"sip:carol@ims.test\" cp:copyControl=\"cc\" cp:anonymize=\"true\"/>
<list cp:copyControl=\"bcc\"><entry uri=\"sip:dave@ims.test\"/>
<external anchor=\"http://h/\"/></list>
</list></resource-lists>";

const CONFERENCE: &str = "<conference-info xmlns=\"urn:ietf:params:xml:ns:conference-info\"
 xmlns:xcon=\"urn:ietf:params:xml:ns:xcon-conference-info\" entity=\"sip:c@ims.test\" version=\"1\">
<conference-description><subject>s</subject><maximum-user-count>9</maximum-user-count>
</conference-description><conference-state><active>true</active></conference-state>
<users state=\"full\"><user entity=\"sip:bob@ims.test\" xcon:nickname=\"B\"><roles><entry>x</entry>
</roles><endpoint entity=\"sip:b@192.0.2.1\" state=\"full\"><status>connected</status>
<joining-method>dialed-in</joining-method><media id=\"1\"><type>message</type></media></endpoint>
</user><user entity=\"sip:carol@ims.test\" state=\"deleted\"/></users></conference-info>";

const GROUP: &str = "<group xmlns=\"urn:oma:xml:poc:list-service\"
 xmlns:cp=\"urn:ietf:params:xml:ns:common-policy\"><list-service uri=\"sip:g@ims.test\">
<display-name xml:lang=\"en\">G</display-name><list><entry uri=\"sip:alice@ims.test\"/></list>
<max-participant-count>10</max-participant-count><cp:ruleset><cp:rule id=\"a\"><cp:conditions>
<cp:identity><cp:one id=\"sip:alice@ims.test\"/><cp:many domain=\"h\"><cp:except id=\"sip:b@h\"/>
</cp:many></cp:identity><is-list-member/><cp:validity><cp:from>1969-12-24T17:00:00+01:00</cp:from>
<cp:until>2003-12-24T19:00:00Z</cp:until></cp:validity></cp:conditions><cp:actions>
<join-handling>true</join-handling></cp:actions></cp:rule></cp:ruleset></list-service></group>";

const SETTINGS: &str =
    "<im-settings xmlns=\"urn:oma:xml:im:service-settings\"><active>true</active>
<deferred-settings><offline-delivery>push</offline-delivery></deferred-settings><hist-settings>
<hist-activation><session-mode>1</session-mode></hist-activation></hist-settings></im-settings>";

const COMPOSING: &str = "<isComposing xmlns=\"urn:ietf:params:xml:ns:im-iscomposing\">
<state>active</state><refresh>60</refresh></isComposing>";

const REGINFO: &str =
    "<reginfo xmlns=\"urn:ietf:params:xml:ns:reginfo\" version=\"0\" state=\"full\">
<registration aor=\"sip:a@h\" id=\"1\" state=\"active\"><contact id=\"2\" state=\"active\"
 event=\"registered\" expires=\"9\"><uri>sip:a@192.0.2.1</uri></contact></registration></reginfo>";

const SIPFRAG: &str = "SIP/2.0 486 Busy Here
Warning: 399 ims.test \"x\"
Content-Type: text/plain

busy";

const MSRP: &str = "MSRP d93kswow SEND
To-Path: msrp://192.0.2.50:2855/c7f3a9c-a1;tcp
From-Path: msrps://relay.example:2855/g;tcp msrp://192.0.2.10:7654/jshA7we;tcp
Message-ID: 12339sdqwer
Success-Report: yes
Failure-Report: partial
Byte-Range: 1-*/40
Content-Type: message/cpim

From: <sip:alice@home1.example>
-------d93ksw
-------d93kswow+
MSRP d93kswow 200 OK
To-Path: msrp://192.0.2.10:7654/jshA7we;tcp
From-Path: msrp://192.0.2.50:2855/c7f3a9c-a1;tcp
-------d93kswow$
MSRP r8s1k0aa REPORT
To-Path: msrp://192.0.2.10:7654/jshA7we;tcp
From-Path: msrp://192.0.2.50:2855/c7f3a9c-a1;tcp
Message-ID: 12339sdqwer
Byte-Range: 1-40/40
Status: 000 200 OK
-------r8s1k0aa$
";

const VALUES: &[&str] = &[
    "msrps://alice@[2001:db8::9]:2855/s.1-2_~+=/;tcp;a=b msrp://h%41.example:7/x;ws",
    "msrp://192.0.2.50:2855/c7f3a9c-a1;tcp",
    "1-*/40",
    "138-148/148",
    "000 408 too late",
    "\"Alice \\\"the\\\" great\"",
    "1800",
    "partial",
    "yes",
    "30vvvvvvvvvvvvf1000000000000",
    "sips:u%40x:pw@[2001:db8::1]:5061;transport=tls;lr;maddr=192.0.2.1?to=a%20b&subject=c",
    "tel:7042;phone-context=example.com;isub=1;ext=2",
    "urn:service:sos",
    "\"a \\\" b\" <sip:a@b;c=d>;e=\"f;g\";h",
    "*;+g.oma.sip-im=\"<x>,<y>\";require;explicit",
    "SIP/2.0/UDP h:1;branch=z9hG4bKx;ttl=1 (comment (nested) \\) )",
    "presence;id=1",
    "100 (a) 200",
    "Mon, 21 Sep 2026 14:13:20 GMT",
    "1234.5 0.25",
];
