//! Writes the configuration file that operators start from, out of the tables of the sections.

use super::section::{Documented, Field};

const HEAD: &str = "\
# Configuration of Parlance.
#
# A line that begins with `#` and a key shows the default, or an example where it says so: remove
# the `#` to change it. Every key can also be set in the environment, which goes before the file:
# PARLANCE_SIP__UDP_OCTETS_MAX=1300 sets udp_octets_max of [sip]; a value that is not a text is
# written as in this file. `parlance check-config --config FILE` lists every mistake.
";

/// The whole file.
pub(super) fn document(sections: &[(&'static str, Documented)]) -> String {
    let mut out = HEAD.to_owned();
    for (name, section) in sections {
        out.push('\n');
        comment(&mut out, &section.about);
        out.push_str(&format!("[{name}]\n"));
        // Tables of an array close the section, so they come last.
        let (tables, plain): (Vec<_>, Vec<_>) =
            section.fields.iter().partition(|field| field.tables.is_some());
        for field in plain {
            write_field(&mut out, field);
        }
        for field in tables {
            out.push('\n');
            comment(&mut out, &field.about);
            out.push_str(&format!("#[[{name}.{}]]\n", field.name));
            let fields = field.tables.iter().flat_map(|tables| &tables.fields);
            fields.for_each(|field| write_field(&mut out, field));
        }
    }
    out
}

fn write_field(out: &mut String, field: &Field) {
    out.push('\n');
    comment(out, &field.about);
    if let Some(range) = &field.range {
        out.push_str(&format!("# Range {range}.\n"));
    }
    if !field.is_default {
        out.push_str("# No default; for example:\n");
    }
    let value = field.value.as_ref().map(ToString::to_string).unwrap_or_default();
    out.push_str(&format!("#{} = {value}\n", field.name));
}

fn comment(out: &mut String, lines: &[&str]) {
    for line in lines {
        out.push_str(&format!("#{line}\n"));
    }
}
