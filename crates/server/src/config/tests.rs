use std::path::PathBuf;

use super::{Config, Format, Kind, Mistakes, Secret, Side, TransportName};

/// The mistakes of `text` under `environment`, one `key: what` each.
fn mistakes(text: &str, environment: &[(&str, &str)]) -> Vec<String> {
    let variables = environment.iter().map(|(name, text)| ((*name).into(), (*text).into()));
    let (config, mut mistakes) = Config::parse(text, variables);
    config.check(&mut mistakes);
    mistakes.iter().map(|mistake| format!("{}: {}", mistake.key, mistake.what)).collect()
}

fn none() -> std::iter::Empty<(String, String)> {
    std::iter::empty()
}

// Covers: CORE-016
#[test]
fn an_empty_file_is_the_default_and_the_default_is_right() {
    let (config, wrong) = Config::parse("", none());
    assert_eq!(wrong, Mistakes::default());
    assert_eq!(config, Config::default());
    assert_eq!(mistakes("", &[]), Vec::<String>::new());
    let [listen] = &config.sip.listen[..] else { panic!("one listener") };
    assert_eq!(listen.address.to_string(), "127.0.0.1:5060");
    assert_eq!(listen.transports, [TransportName::Udp, TransportName::Tcp]);
    assert_eq!(listen.side, Side::Any);
    let [listen] = &config.msrp.listen[..] else { panic!("one listener") };
    assert_eq!(listen.address().to_string(), "127.0.0.1:2855");
    assert!(!listen.is_secure() && !listen.websocket);
    assert_eq!(config.http.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.store.path, PathBuf::from("./parlance-data"));
    assert!(config.sip.trust_loopback);
    assert!(config.sip.server.starts_with("IM-serv/OMA1.0 "), "{}", config.sip.server);
}

// Covers: CORE-029
#[test]
fn each_side_may_have_a_port_of_its_own() {
    let text = r#"
        [[sip.listen]]
        address = "127.0.0.20:5080"
        side = "originating"
        [[sip.listen]]
        address = "127.0.0.20:5081"
        side = "terminating"
        [[sip.listen]]
        address = "127.0.0.20:5082"
        transports = ["tcp"]
        side = "registration"
        [[sip.peer]]
        name = "scscf"
        networks = ["127.0.0.10/32", "2001:db8::/64"]
        [[sip.peer]]
        name = "proxy"
        networks = ["127.0.0.11/32"]
        kind = "proxy"
    "#;
    let (config, wrong) = Config::parse(text, none());
    assert_eq!(wrong, Mistakes::default());
    assert_eq!(mistakes(text, &[]), Vec::<String>::new());
    let sides: Vec<_> =
        config.sip.listen.iter().map(|listen| (listen.address.port(), listen.side)).collect();
    let expected =
        [(5080, Side::Originating), (5081, Side::Terminating), (5082, Side::Registration)];
    assert_eq!(sides, expected);
    assert_eq!(config.sip.peer[1].kind, Kind::Proxy);
}

#[test]
fn the_environment_goes_before_the_file() {
    let variables = [
        ("PARLANCE_SIP__UDP_OCTETS_MAX", "900"),
        ("PARLANCE_LOG__FORMAT", "json"),
        ("PARLANCE_LOG__LEVEL", "\"debug\""),
        ("PARLANCE_LOG__SHOW_PRIVATE", "true"),
        ("PARLANCE_SIP__DOMAINS", r#"["a.test", "b.test"]"#),
        ("PARLANCE_SIP__SERVER", "42"),
        ("PARLANCE_STORE__PATH", "/srv/data"),
        ("PARLANCE_SIP__LISTEN", r#"[{ address = "127.0.0.1:0", transports = ["udp"] }]"#),
        ("PARLANCE_HTTP__ADMIN_TOKEN", "0123456789abcdef"),
        ("PARLANCE_LONG", "1"),
        ("HOME", "/root"),
    ];
    let variables = variables.map(|(name, text)| (name.to_owned(), text.to_owned()));
    let text = "[sip]\nudp_octets_max = 1000\nt1_ms = 250\n[log]\nlevel = \"warn\"\n";
    let (config, wrong) = Config::parse(text, variables);
    assert_eq!(wrong, Mistakes::default());
    assert_eq!((config.sip.udp_octets_max, config.sip.t1_ms), (900, 250));
    assert_eq!((config.log.format, config.log.show_private), (Format::Json, true));
    assert_eq!((config.log.level.as_str(), config.sip.server.as_str()), ("debug", "42"));
    assert_eq!(config.sip.domains, ["a.test", "b.test"]);
    assert_eq!(config.store.path, PathBuf::from("/srv/data"));
    assert_eq!(config.sip.listen.len(), 1);
    assert_eq!(config.http.admin_token, Some(Secret::from("0123456789abcdef".to_owned())));
}

#[test]
fn each_mistake_is_named() {
    #[rustfmt::skip]
    let table: &[(&str, &str)] = &[
        ("[sip", "line 1: "),
        ("x = 1", "x: unknown section"),
        ("sip = 1", "sip: must be a section"),
        ("[sipp]", "sipp: unknown section"),
        ("[sip]\nt3_ms = 1", "sip.t3_ms: unknown key"),
        ("[sip]\nt1_ms = \"x\"", "sip.t1_ms: invalid type"),
        ("[sip]\nt1_ms = -1", "sip.t1_ms: "),
        ("[sip]\nt1_ms = 9", "sip.t1_ms: 9 is not in 10 to 5000"),
        ("[sip]\nt1_ms = 4001\nt2_ms = 4000", "sip.t2_ms: is below t1_ms"),
        ("[sip]\ndomains = []", "sip.domains: at least one"),
        ("[sip]\ndomains = [\"a b\"]", "sip.domains: \"a b\" is no domain"),
        ("[sip]\nnames = [\"h:x\"]", "sip.names: \"h:x\" is neither"),
        ("[sip]\nnext_hop = \"tel:+1\"", "sip.next_hop: \"tel:+1\" is no sip"),
        ("[sip]\nnext_hop = \"sips:h\"", "sip.next_hop: it needs TLS"),
        ("[sip]\nnext_hop = \"sip:h;transport=sctp\"", "sip.next_hop: its transport"),
        ("[sip]\nauthentication = \"basic\"", "sip.authentication: unknown variant"),
        ("[sip]\nauthentication = \"digest\"", "sip.digest_file: is needed"),
        ("[sip]\ndigest_file = \"/dev/null\"", "sip.digest_file: is of no use"),
        ("[sip]\nauthentication = \"digest\"\ndigest_file = \"/none\"", "sip.digest_file: /none"),
        ("[sip]\nlisten = []", "sip.listen: at least one"),
        ("[sip]\nlisten = 1", "sip.listen: must be tables"),
        ("[sip]\nlisten = [1]", "sip.listen[0]: must be a table"),
        ("[[sip.listen]]\nadress = \"h\"", "sip.listen[0].adress: unknown key"),
        ("[[sip.listen]]\naddress = \"localhost:1\"", "sip.listen[0].address: "),
        ("[[sip.listen]]\naddress = \"0.0.0.0:5060\"", "sip.listen[0].advertise: is needed"),
        ("[[sip.listen]]\nadvertise = \"a b\"", "sip.listen[0].advertise: is not HOST"),
        ("[[sip.listen]]\ntransports = []", "sip.listen[0].transports: at least one"),
        ("[[sip.listen]]\ntransports = [\"sctp\"]", "sip.listen[0].transports: unknown variant"),
        ("[[sip.listen]]\ntransports = [\"udp\", \"udp\"]", "sip.listen[0].transports: one of"),
        ("[[sip.listen]]\ntransports = [\"tcp\", \"tls\"]", "sip.listen[0].transports: tcp and"),
        ("[[sip.listen]]\ntransports = [\"tls\"]", "sip.listen[0].certificate: is needed"),
        ("[[sip.listen]]\ntransports = [\"tls\"]", "sip.listen[0].key: is needed"),
        ("[[sip.listen]]\nkey = \"/dev/null\"", "sip.listen[0].key: is of no use"),
        ("[[sip.listen]]\nclient_roots = \"/none\"", "sip.listen[0].client_roots: /none"),
        ("[[sip.listen]]\nclient_required = true", "sip.listen[0].client_required: needs"),
        ("[[sip.listen]]\n[[sip.listen]]", "sip.listen[1].address: 127.0.0.1:5060 UDP is taken"),
        ("[[sip.listen]]\naddress = \"127.0.0.1:8080\"", "http.listen: 127.0.0.1:8080 TCP is"),
        ("[[sip.listen]]\nside = \"terminating\"", "sip.listen: no listener has the side origin"),
        ("[[sip.listen]]\nside = \"left\"", "sip.listen[0].side: unknown variant"),
        ("[[sip.peer]]\nnetworks = [\"10.0.0.0/8\"]", "sip.peer[0].name: is missing"),
        ("[[sip.peer]]\nname = \"a\"", "sip.peer: peer a has neither"),
        ("[[sip.peer]]\nname = \"a\"\nnetworks = [\"10.0.0.0/99\"]", "sip.peer[0].networks: "),
        ("[[sip.peer]]\nname = \"a\"\ncertificates = [\"h\"]", "sip.peer: certificates are named"),
        ("[sip]\nfilter_file = \"/none\"", "sip.filter_file: /none"),
        ("[sip]\nfilter_file = \"/dev/null\"", "sip.filter_file: "),
        ("[participating]\nbody_bytes_max = 0", "participating.body_bytes_max: 0 is not in"),
        ("[participating]\nblocked_content = [\"text\"]", "participating.blocked_content: must be"),
        ("[participating]\nnotice_from = \"x\"", "participating.notice.from: must be"),
        ("[controlling]\nring_s = 0", "controlling.ring_s: 0 is not in"),
        ("[controlling]\nanswer_at = \"never\"", "controlling.answer_at: unknown variant"),
        ("[controlling]\nwrapped_types = \"text\"", "controlling.wrapped_types: must be"),
        ("[controlling]\nfactory = \"tel:+1\"", "controlling.factory: \"tel:+1\" is no"),
        ("[controlling]\ngroups = \"/none\"", "controlling.groups: /none"),
        ("[controlling]\ngroup_prefix = \"\"", "controlling.group_prefix: "),
        ("[controlling]\nsession_prefix = \"a b\"", "controlling.session_prefix: "),
        ("[controlling]\nsession_domain = \"a b\"", "controlling.session_domain: "),
        ("[deferred]\ndelivery = \"pigeon\"", "deferred.delivery: unknown variant"),
        ("[deferred]\nretry_max_s = 59", "deferred.retry_max_s: must not be below"),
        ("[deferred]\nservice_uri = \"x\"", "deferred.service_uri: must be"),
        ("[store]\nreseal = true", "store.reseal: needs a key"),
        ("[history]\nservice_uri = \"x\"", "history.service_uri: "),
        ("[registration]\nreg_event_identity = \"x\"", "registration.reg_event_identity: "),
        ("[registration]\nprovisioning = \"nobody\"", "registration.provisioning: unknown variant"),
        ("[sip]\ntrust_loopback = false", "sip.peer: nobody is trusted"),
        ("[net]\ntls_roots = \"/none\"", "net.tls_roots: /none"),
        ("[net]\ntls_names = [\"h=n\"]", "net.tls_names: \"h=n\" is not"),
        ("[net]\ndns_servers = [\"8.8.8.8\"]", "net.dns_servers: "),
        ("[store]\npath = \"/dev/null\"", "store.path: /dev/null is no directory"),
        ("[store]\nkey = 5", "store.key: must be a text"),
        ("[store]\nkey = \"00\"", "store.key: the key must have 64"),
        ("[store]\nkey = \"00\"\nkey_file = \"/dev/null\"", "store.key: stands beside"),
        ("[store]\nkey_file = \"/none\"", "store.key_file: /none"),
        ("[http]\nlisten = \"here\"", "http.listen: "),
        ("[http]\nadmin_token = \"short\"", "http.admin_token: must have at least 16"),
        ("[log]\nformat = \"xml\"", "log.format: unknown variant"),
        ("[log]\nlevel = \"a=b=c\"", "log.level: "),
        ("[shards]\ncount = 65", "shards.count: 65 is not in 0 to 64"),
    ];
    for (text, expected) in table {
        let found = mistakes(text, &[]);
        assert!(found.iter().any(|one| one.starts_with(expected)), "{text}: {found:#?}");
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let text = "\
        [sip]\nt1_ms = 1\ndomain = \"x\"\nnext_hop = \"mailto:a@b\"\n\
        [[sip.listen]]\naddress = \"0.0.0.0:5060\"\ntransports = [\"tls\"]\n\
        [store]\nkey = \"0\"\n[lgo]\n";
    let environment =
        [("PARLANCE_SHARDS__COUNT", "many"), ("PARLANCE_SIP__PORT", "5"), ("PARLANCE_X__Y", "z")];
    let found = mistakes(text, &environment);
    let expected = [
        "sip.t1_ms: ",
        "sip.domain: ",
        "sip.next_hop: ",
        "sip.listen[0].advertise: ",
        "sip.listen[0].certificate: ",
        "sip.listen[0].key: ",
        "store.key: ",
        "lgo: ",
        "shards.count (PARLANCE_SHARDS__COUNT): ",
        "PARLANCE_SIP__PORT: sets no key",
        "PARLANCE_X__Y: sets no key",
    ];
    for start in expected {
        assert!(found.iter().any(|one| one.starts_with(start)), "{start}: {found:#?}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

// Covers: SEC-020
#[test]
fn secrets_are_in_no_message() {
    let text = "[store]\nkey = \"hunter2\"\n[http]\nadmin_token = \"hunter3\"\n";
    let environment = [("PARLANCE_HTTP__ADMIN_TOKEN", "[\"hunter4\"]")];
    let (config, _) = Config::parse(text, none());
    let said = mistakes(text, &[]).concat() + &mistakes("", &environment).concat();
    assert!(!said.contains("hunter"), "{said}");
    assert!(!format!("{config:?}").contains("hunter"));
}

#[test]
fn addresses_of_different_families_or_hosts_do_not_collide() {
    let listeners = |first: &str, second: &str| {
        mistakes(
            &format!(
                "[[sip.listen]]\naddress = \"{first}\"\nadvertise = \"h\"\n\
                 [[sip.listen]]\naddress = \"{second}\"\nadvertise = \"h\"\n"
            ),
            &[],
        )
        .len()
    };
    #[rustfmt::skip]
    let table = [
        ("127.0.0.1:5060", "127.0.0.2:5060", 0),
        ("127.0.0.1:5060", "127.0.0.1:5061", 0),
        ("127.0.0.1:5060", "[::]:5060",      0),
        ("127.0.0.1:0",    "127.0.0.1:0",    0),
        ("127.0.0.1:5060", "0.0.0.0:5060",   2), // UDP and TCP
        ("[::1]:5060",     "[::]:5060",      2),
    ];
    for (first, second, count) in table {
        assert_eq!(listeners(first, second), count, "{first} {second}");
    }
}

/// The file operators start from. `PARLANCE_WRITE=1` writes it anew.
#[test]
fn the_shipped_file_is_what_the_tables_say() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/parlance.toml");
    let text = Config::document();
    if std::env::var_os("PARLANCE_WRITE").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let shipped = std::fs::read_to_string(path).unwrap();
    assert!(shipped == text, "deploy/parlance.toml is not up to date: PARLANCE_WRITE=1 cargo test");
    assert!(text.lines().all(|line| line.chars().count() <= 110), "a line is too long");

    let (config, wrong) = Config::parse(&shipped, none());
    assert_eq!(wrong, Mistakes::default());
    assert_eq!(config, Config::default());
}

/// Every key of the shipped file is known and its value read, also where it is an example.
#[test]
fn the_shipped_file_without_its_marks_is_read_too() {
    let bare = |line: &str| match line.strip_prefix('#') {
        Some(rest) if !rest.starts_with(' ') && !rest.is_empty() => rest.to_owned(),
        _ => line.to_owned(),
    };
    let text: Vec<String> = Config::document().lines().map(bare).collect();
    let (config, wrong) = Config::parse(&text.join("\n"), none());
    assert_eq!(wrong, Mistakes::default());
    assert_eq!(config.log, Config::default().log);
    assert_eq!(config.sip.peer.len(), 1);
    assert!(config.sip.next_hop.is_some() && config.store.key.is_some());
}

#[test]
fn changes_are_named() {
    let (new, _) = Config::parse("[log]\nlevel = \"debug\"\n[sip]\nt1_ms = 100\n", none());
    assert_eq!(Config::default().changed(&new), ["sip.t1_ms", "log.level"]);
    assert!(new.changed(&new.clone()).is_empty());
}

// Covers: MSRP-040
#[test]
fn mistakes_of_msrp_are_named() {
    let listen = "[[msrp.listen]]\naddress = \"127.0.0.1:2855\"\n";
    let relay = "[msrp]\nrelay = true\n";
    let peer = "[[msrp.peer]]\ndomain = \"a.test\"\n";
    #[rustfmt::skip]
    let table: &[(String, &str)] = &[
        ("[msrp]\ncores = 65".into(), "msrp.cores: 65 is not in 0 to 64"),
        ("[msrp]\nport = 1".into(), "msrp.port: unknown key"),
        ("[msrp]\noutbound_low_octets = 262144".into(), "msrp.outbound_low_octets: is not below"),
        ("[msrp]\nexpires_default_s = 30".into(), "msrp.expires_default_s: is not between"),
        ("[msrp]\nexpires_max_s = 800".into(), "msrp.expires_default_s: is not between"),
        ("[msrp]\ndigest_file = \"/dev/null\"".into(), "msrp.digest_file: is of no use"),
        ("[msrp]\ntls = \"require\"".into(), "msrp.tls: is required, and no listener"),
        ("[[msrp.peer]]\ntls = \"off\"".into(), "msrp.peer[0].domain: is needed"),
        (format!("{peer}{peer}"), "msrp.peer[1].domain: is named before"),
        (format!("{peer}tls = \"always\""), "msrp.peer[0].tls: unknown variant"),
        (relay.to_owned(), "msrp.relay: needs a listener with a certificate"),
        (relay.to_owned(), "msrp.digest_file: is needed"),
        (format!("{relay}digest_file = \"/none\""), "msrp.digest_file: /none"),
        (format!("{listen}certificate = \"/dev/null\""), "msrp.listen[0].key: is needed"),
        (format!("{listen}key = \"/dev/null\""), "msrp.listen[0].certificate: is needed"),
        (format!("{listen}certificate = \"/none\""), "msrp.listen[0].certificate: /none"),
        (format!("{listen}client_roots = \"/dev/null\""), "msrp.listen[0].client_roots: is of no"),
        (format!("{listen}advertise = \"a b\""), "msrp.listen[0].advertise: is not HOST"),
        (format!("{listen}{listen}"), "msrp.listen[1].address: 127.0.0.1:2855"),
        ("[[msrp.listen]]\naddress = \"0.0.0.0:1\"".into(), "msrp.listen[0].advertise: is needed"),
        ("[[msrp.listen]]\naddress = \"127.0.0.1:8080\"".into(), "msrp.listen[0].address: 127"),
    ];
    for (text, expected) in table {
        let (config, mut mistakes) = Config::parse(text, none());
        config.check(&mut mistakes);
        let mistakes = mistakes.to_string();
        assert!(mistakes.lines().any(|line| line.starts_with(expected)), "{text}\n{mistakes}");
    }
    let (config, mut mistakes) = Config::parse(listen, none());
    config.check(&mut mistakes);
    assert!(mistakes.is_empty() && config.msrp.is_on(), "{mistakes}");
}
