//! Changing a media line of a description that is passed on, as who stands between must
//! (RFC 4975 §8, RFC 6714 §6.2).

use sdp_types::{Attribute, Media};

/// A media line being changed. What is not named stays, in its order.
#[derive(Debug)]
pub struct MediaEdit<'a> {
    media: &'a mut Media,
}

impl<'a> MediaEdit<'a> {
    pub(super) fn new(media: &'a mut Media) -> Self {
        Self { media }
    }

    /// Sets the port; 0 refuses the line.
    pub fn set_port(&mut self, port: u16) -> &mut Self {
        self.media.port = port;
        self.media.num_ports = None;
        self
    }

    /// Sets the transport protocol.
    pub fn set_proto(&mut self, proto: &str) -> &mut Self {
        proto.clone_into(&mut self.media.proto);
        self
    }

    /// Sets the `c=` line of the media line: an address (IPv6 without brackets) or a name.
    pub fn set_connection(&mut self, host: &str) -> &mut Self {
        self.media.connections = vec![super::connection(host)];
        self
    }

    /// Sets an attribute where its first occurrence stands, else behind the others; further
    /// occurrences go. An empty value writes `a=name`.
    pub fn set_attribute(&mut self, name: &str, value: &str) -> &mut Self {
        let value = (!value.is_empty()).then(|| value.to_owned());
        let attribute = Attribute { attribute: name.to_owned(), value };
        let attributes = &mut self.media.attributes;
        let position = attributes.iter().position(|one| one.attribute == name);
        attributes.retain(|one| one.attribute != name);
        match position {
            Some(position) => attributes.insert(position, attribute),
            None => attributes.push(attribute),
        }
        self
    }

    /// Adds an attribute behind the others.
    pub fn add_attribute(&mut self, name: &str, value: &str) -> &mut Self {
        let value = (!value.is_empty()).then(|| value.to_owned());
        self.media.attributes.push(Attribute { attribute: name.to_owned(), value });
        self
    }

    /// Removes every occurrence of an attribute.
    pub fn remove_attribute(&mut self, name: &str) -> &mut Self {
        self.media.attributes.retain(|one| one.attribute != name);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::super::Sdp;

    const HEAD: &str = "v=0\r\no=- 1 2 IN IP4 h\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n";

    #[test]
    fn what_is_not_named_stays() {
        let media = "m=audio 5 RTP/AVP 0\r\na=x\r\nm=message 7654 TCP/MSRP *\r\ni=title\r\n\
            a=odd:1\r\na=path:msrp://h:7654/s;tcp\r\na=msrp-cema\r\na=path:again\r\na=odd:2\r\n";
        let mut sdp = Sdp::parse(format!("{HEAD}{media}").as_bytes()).unwrap();
        sdp.edit(1)
            .unwrap()
            .set_port(2855)
            .set_proto("TCP/TLS/MSRP")
            .set_connection("2001:db8::1")
            .set_attribute("path", "msrps://[2001:db8::1]:2855/t;tcp")
            .set_attribute("setup", "actpass")
            .set_attribute("flag", "")
            .add_attribute("odd", "3")
            .remove_attribute("msrp-cema");
        assert!(sdp.edit(2).is_none());
        let expect = "m=audio 5 RTP/AVP 0\r\na=x\r\nm=message 2855 TCP/TLS/MSRP *\r\ni=title\r\n\
            c=IN IP6 2001:db8::1\r\na=odd:1\r\na=path:msrps://[2001:db8::1]:2855/t;tcp\r\n\
            a=odd:2\r\na=setup:actpass\r\na=flag\r\na=odd:3\r\n";
        assert_eq!(sdp.to_string(), format!("{HEAD}{expect}"));
    }
}
