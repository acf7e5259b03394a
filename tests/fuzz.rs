//! No sequence of octets makes a reader panic, and none makes it give out more than it got.
//!
//! A run takes two seconds for each reader, fifteen with `PARLANCE_LONG=1`. `PARLANCE_SEED` repeats
//! a run that failed; without it, every run has another seed, and says which.

use std::path::Path;
use std::time::{Duration, SystemTime};

use parlance_lab::fuzz::{Target, fuzz, growth, own_corpus};

/// The messages of the RFCs and our own.
fn corpus() -> Vec<Vec<u8>> {
    let mut corpus = own_corpus();
    for folder in ["rfc4475", "rfc5118"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(folder);
        let mut files: Vec<_> = std::fs::read_dir(&path)
            .expect("the folder is there")
            .map(|entry| entry.expect("it can be read").path())
            .collect();
        files.sort();
        corpus.extend(files.iter().map(|file| std::fs::read(file).expect("it can be read")));
    }
    corpus
}

fn seed() -> u64 {
    let given = std::env::var("PARLANCE_SEED").ok().and_then(|seed| seed.parse().ok());
    #[expect(clippy::disallowed_methods, reason = "a seed that is another each time")]
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    given.unwrap_or_else(|| now.map_or(1, |since| since.as_secs()))
}

/// Runs one reader and says what it did.
fn run(target: Target) -> String {
    let long = std::env::var("PARLANCE_LONG").is_ok_and(|value| value == "1");
    let time = Duration::from_secs(if long { 15 } else { 2 });
    let (corpus, seed) = (corpus(), seed());
    let run = fuzz(target, &corpus, seed, time);
    let failure = run.as_ref().err().map(ToString::to_string);
    assert_eq!(failure, None, "PARLANCE_SEED={seed} repeats it");
    let (inputs, items) = run.map_or((0, 0), |run| (run.inputs, run.items));
    assert!(inputs > 2 * corpus.len() as u64, "too slow to say anything");
    assert!(items > inputs / 100, "nothing of the corpus is understood");
    format!("{}: seed {seed}, {inputs} inputs, {items} items", target.name())
}

macro_rules! readers {
    ($($name:ident: $target:ident,)*) => {
        $(
            // Covers: SEC-018
            #[test]
            fn $name() {
                println!("{}", run(Target::$target));
            }
        )*
    };
}

readers! {
    the_message_parser_stands: Message,
    the_header_parsers_stand: Headers,
    the_uri_parser_stands: Uri,
    the_sdp_parser_stands: Sdp,
    the_stream_framer_stands: Framer,
    the_readers_of_bodies_stand: Content,
    the_readers_of_documents_stand: Documents,
    the_reader_of_filter_criteria_stands: Criteria,
    the_endpoint_stands: Endpoint,
    the_msrp_framer_stands: MsrpFramer,
    the_msrp_uri_parser_stands: MsrpUri,
    the_msrp_header_parsers_stand: MsrpHeaders,
    the_msrp_switch_stands: MsrpSwitch,
    the_msrp_relay_stands: MsrpRelay,
}

// Covers: SEC-018
#[test]
fn what_comes_out_grows_no_faster_than_what_went_in() {
    for target in Target::ALL {
        // Every typed header reads each input, alone and as a list.
        let per_octet = if target == Target::Headers { 128 } else { 2 };
        for growth in growth(target) {
            assert!(growth.is_linear(per_octet), "{}: {growth:?}", target.name());
        }
    }
}
