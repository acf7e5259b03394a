//! Reads filter criteria from the XML of TS 29.228 Annex E.

use roxmltree::{Document, Node, ParsingOptions};

use super::{
    ApplicationServer, Condition, DefaultHandling, Ere, EreError, Form, InitialFilterCriteria,
    ProfilePart, RegistrationType, ServiceProfile, SessionCase, Spt, TriggerPoint,
};

/// Longest document in octets; local limit, larger than any profile an HSS sends.
pub const DOCUMENT_OCTETS_MAX: usize = 1024 * 1024;

/// Most criteria in one document; local limit.
pub const CRITERIA_MAX: usize = 512;

/// Most triggers in one trigger point; local limit.
pub const SPTS_MAX: usize = 256;

/// Most elements, texts and attributes in one document; local limit.
const NODES_MAX: u32 = 100_000;

/// What is wrong with a document, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, {element}: {fault}")]
pub struct IfcError {
    /// The element at fault, or the one that lacks something.
    pub element: String,
    /// The line it begins on, from 1.
    pub line: u32,
    /// What is wrong with it.
    pub fault: IfcFault,
}

/// What is wrong with an element.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IfcFault {
    /// The document is not well-formed, or has a document type declaration.
    #[error("not well-formed: {0}")]
    Xml(String),
    /// The document is longer than [`DOCUMENT_OCTETS_MAX`].
    #[error("document longer than {DOCUMENT_OCTETS_MAX} octets")]
    Size,
    /// The outermost element is none of those that hold criteria.
    #[error("expected IMSSubscription, ServiceProfile or InitialFilterCriteria")]
    Root,
    /// An element is missing.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// The text is not one of the values the element takes.
    #[error("`{0}` is no value of it")]
    Value(String),
    /// Not exactly one of the five conditions.
    #[error("expected one condition")]
    Condition,
    /// The text is no extended regular expression.
    #[error("bad expression: {0}")]
    Ere(#[from] EreError),
    /// Two criteria of one profile have this priority.
    #[error("priority {0} stands twice")]
    Priority(u32),
    /// More than [`CRITERIA_MAX`] criteria or [`SPTS_MAX`] triggers.
    #[error("more than {0} of them")]
    TooMany(usize),
}

/// Reads the service profiles in a document: an `IMSSubscription`, one `ServiceProfile`, or one
/// `InitialFilterCriteria`, which becomes a profile without identities.
///
/// Namespaces and unknown elements are ignored: vendors extend the schema.
///
/// # Errors
/// The first [`IfcError`] in document order.
pub fn profiles(xml: &str) -> Result<Vec<ServiceProfile>, IfcError> {
    let whole = |line, fault| IfcError { element: "document".to_owned(), line, fault };
    if xml.len() > DOCUMENT_OCTETS_MAX {
        return Err(whole(1, IfcFault::Size));
    }
    let options = ParsingOptions { allow_dtd: false, nodes_limit: NODES_MAX, ..Default::default() };
    let document = Document::parse_with_options(xml, options)
        .map_err(|error| whole(error.pos().row, IfcFault::Xml(error.to_string())))?;
    let root = document.root_element();
    let profiles = match root.tag_name().name() {
        "IMSSubscription" => children(root, "ServiceProfile").map(profile).collect(),
        "ServiceProfile" => Ok(vec![profile(root)?]),
        "InitialFilterCriteria" => {
            let criteria = vec![criterion(root)?];
            Ok(vec![ServiceProfile { public_identities: Vec::new(), criteria }])
        }
        _ => Err(fault(root, IfcFault::Root)),
    }?;
    let count: usize = profiles.iter().map(|profile: &ServiceProfile| profile.criteria.len()).sum();
    if count > CRITERIA_MAX {
        return Err(fault(root, IfcFault::TooMany(CRITERIA_MAX)));
    }
    Ok(profiles)
}

fn profile(node: Node<'_, '_>) -> Result<ServiceProfile, IfcError> {
    let identities = children(node, "PublicIdentity").filter_map(|public| {
        let identity = child(public, "Identity")?;
        Some(text(identity).to_owned())
    });
    let public_identities = identities.collect();
    let mut criteria: Vec<InitialFilterCriteria> = Vec::new();
    for element in children(node, "InitialFilterCriteria") {
        let criterion = criterion(element)?;
        if criteria.iter().any(|known| known.priority == criterion.priority) {
            return Err(fault(element, IfcFault::Priority(criterion.priority)));
        }
        criteria.push(criterion);
    }
    criteria.sort_by_key(|criterion| criterion.priority);
    Ok(ServiceProfile { public_identities, criteria })
}

fn criterion(node: Node<'_, '_>) -> Result<InitialFilterCriteria, IfcError> {
    let priority = number(required(node, "Priority")?)?;
    let trigger_point = child(node, "TriggerPoint").map(trigger_point).transpose()?;
    let application_server = application_server(required(node, "ApplicationServer")?)?;
    let part = child(node, "ProfilePartIndicator").map(|node| match text(node) {
        "0" => Ok(ProfilePart::Registered),
        "1" => Ok(ProfilePart::Unregistered),
        _ => Err(value(node)),
    });
    let profile_part = part.transpose()?;
    Ok(InitialFilterCriteria { priority, trigger_point, application_server, profile_part })
}

fn trigger_point(node: Node<'_, '_>) -> Result<TriggerPoint, IfcError> {
    let form = match boolean(required(node, "ConditionTypeCNF")?)? {
        true => Form::Conjunctive,
        false => Form::Disjunctive,
    };
    let spts = children(node, "SPT").map(spt).collect::<Result<Vec<_>, _>>()?;
    if spts.is_empty() {
        return Err(fault(node, IfcFault::Missing("SPT")));
    }
    if spts.len() > SPTS_MAX {
        return Err(fault(node, IfcFault::TooMany(SPTS_MAX)));
    }
    Ok(TriggerPoint { form, spts })
}

fn spt(node: Node<'_, '_>) -> Result<Spt, IfcError> {
    let negated = child(node, "ConditionNegated").map(boolean).transpose()?.unwrap_or(false);
    let group = |node| text(node).parse::<i32>().map_err(|_| value(node));
    let groups = children(node, "Group").map(group).collect::<Result<Vec<_>, _>>()?;
    if groups.is_empty() {
        return Err(fault(node, IfcFault::Missing("Group")));
    }
    let mut conditions = node.children().filter_map(|child| condition(child).transpose());
    let condition = conditions.next().ok_or_else(|| fault(node, IfcFault::Condition))??;
    if conditions.next().is_some() {
        return Err(fault(node, IfcFault::Condition));
    }
    let registrations = child(node, "Extension")
        .into_iter()
        .flat_map(|extension| children(extension, "RegistrationType"))
        .map(|node| RegistrationType::from_number(number(node)?).ok_or_else(|| value(node)))
        .collect::<Result<_, _>>()?;
    Ok(Spt { negated, groups, condition, registrations })
}

/// The condition `node` is; `None` for the other elements of a trigger.
fn condition(node: Node<'_, '_>) -> Result<Option<Condition>, IfcError> {
    if !node.is_element() {
        return Ok(None);
    }
    Ok(Some(match node.tag_name().name() {
        "RequestURI" => Condition::RequestUri(text(node).to_owned()),
        "Method" => Condition::Method(text(node).to_owned()),
        "SIPHeader" => {
            let content = child(node, "Content").map(ere).transpose()?;
            Condition::SipHeader { header: ere(required(node, "Header")?)?, content }
        }
        "SessionCase" => Condition::SessionCase(
            SessionCase::from_number(number(node)?).ok_or_else(|| value(node))?,
        ),
        "SessionDescription" => {
            let content = child(node, "Content").map(ere).transpose()?;
            Condition::SessionDescription { line: ere(required(node, "Line")?)?, content }
        }
        _ => return Ok(None),
    }))
}

fn application_server(node: Node<'_, '_>) -> Result<ApplicationServer, IfcError> {
    let name = required(node, "ServerName")?;
    let server_name = text(name).to_owned();
    if parlance_sip::uri::Uri::parse(server_name.as_bytes()).is_err() {
        return Err(value(name));
    }
    let handling = child(node, "DefaultHandling").map(|node| match text(node) {
        "0" => Ok(DefaultHandling::SessionContinued),
        "1" => Ok(DefaultHandling::SessionTerminated),
        _ => Err(value(node)),
    });
    let default_handling = handling.transpose()?.unwrap_or_default();
    // The schema has the two in an Extension; some HSSs write them beside it.
    let holders = || std::iter::once(node).chain(children(node, "Extension"));
    let holds = |name| holders().any(|holder| child(holder, name).is_some());
    Ok(ApplicationServer {
        server_name,
        default_handling,
        service_info: child(node, "ServiceInfo").map(|node| text(node).to_owned()),
        include_register_request: holds("IncludeRegisterRequest"),
        include_register_response: holds("IncludeRegisterResponse"),
    })
}

fn children<'a, 'i>(
    node: Node<'a, 'i>,
    name: &'static str,
) -> impl Iterator<Item = Node<'a, 'i>> + use<'a, 'i> {
    node.children().filter(move |child| child.is_element() && child.tag_name().name() == name)
}

fn child<'a, 'i>(node: Node<'a, 'i>, name: &'static str) -> Option<Node<'a, 'i>> {
    children(node, name).next()
}

fn required<'a, 'i>(node: Node<'a, 'i>, name: &'static str) -> Result<Node<'a, 'i>, IfcError> {
    child(node, name).ok_or_else(|| fault(node, IfcFault::Missing(name)))
}

fn text<'a>(node: Node<'a, '_>) -> &'a str {
    node.text().unwrap_or_default().trim()
}

fn number(node: Node<'_, '_>) -> Result<u32, IfcError> {
    text(node).parse().map_err(|_| value(node))
}

/// `xs:boolean`.
fn boolean(node: Node<'_, '_>) -> Result<bool, IfcError> {
    match text(node) {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err(value(node)),
    }
}

fn ere(node: Node<'_, '_>) -> Result<Ere, IfcError> {
    Ere::parse(text(node)).map_err(|error| fault(node, error.into()))
}

fn value(node: Node<'_, '_>) -> IfcError {
    fault(node, IfcFault::Value(text(node).chars().take(64).collect()))
}

fn fault(node: Node<'_, '_>, fault: IfcFault) -> IfcError {
    let line = node.document().text_pos_at(node.range().start).row;
    IfcError { element: node.tag_name().name().to_owned(), line, fault }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        CRITERIA_MAX, Condition, DOCUMENT_OCTETS_MAX, Form, IfcFault, ProfilePart,
        RegistrationType, SPTS_MAX, profiles,
    };

    const SERVER: &str = "<ApplicationServer><ServerName>sip:as@h</ServerName></ApplicationServer>";

    fn fault_of(xml: &str) -> (String, u32, IfcFault) {
        let error = profiles(xml).unwrap_err();
        (error.element, error.line, error.fault)
    }

    #[test]
    fn every_element_is_read() {
        let xml = r#"<?xml version="1.0"?>
<IMSSubscription xmlns="urn:any"><PrivateID>a@b</PrivateID><ServiceProfile>
 <PublicIdentity><Identity>sip:a@b</Identity></PublicIdentity>
 <PublicIdentity><BarringIndication>0</BarringIndication><Identity> tel:+1 </Identity></PublicIdentity>
 <InitialFilterCriteria><Priority>7</Priority>
  <TriggerPoint><ConditionTypeCNF>false</ConditionTypeCNF>
   <SPT><ConditionNegated>1</ConditionNegated><Group>0</Group><Group>-2</Group><Method>REGISTER</Method>
    <Extension><RegistrationType>0</RegistrationType><RegistrationType>2</RegistrationType></Extension></SPT>
   <SPT><Group>1</Group><SIPHeader><Header>^Event$</Header><Content>^reg</Content></SIPHeader></SPT>
   <SPT><Group>1</Group><SessionDescription><Line>m</Line></SessionDescription></SPT>
   <SPT><Group>1</Group><RequestURI>sip:x@y</RequestURI></SPT>
   <SPT><Group>1</Group><SessionCase>4</SessionCase></SPT>
  </TriggerPoint>
  <ApplicationServer><ServerName>sip:as@h</ServerName><DefaultHandling>1</DefaultHandling>
   <ServiceInfo>gold</ServiceInfo><Extension><IncludeRegisterRequest/></Extension></ApplicationServer>
  <ProfilePartIndicator>1</ProfilePartIndicator>
 </InitialFilterCriteria>
 <InitialFilterCriteria><Priority>3</Priority><ApplicationServer><ServerName>sip:as@h</ServerName>
  <IncludeRegisterResponse/></ApplicationServer></InitialFilterCriteria>
</ServiceProfile></IMSSubscription>"#;
        let profiles = profiles(xml).unwrap();
        assert_eq!(profiles.len(), 1);
        assert_eq!(profiles[0].public_identities, ["sip:a@b", "tel:+1"]);
        let [first, second] = &profiles[0].criteria[..] else { panic!("two criteria") };
        assert_eq!((first.priority, second.priority), (3, 7));
        assert!(first.trigger_point.is_none());
        assert!(first.application_server.include_register_response);
        assert!(!first.application_server.include_register_request);
        assert_eq!(second.profile_part, Some(ProfilePart::Unregistered));
        assert_eq!(second.application_server.service_info.as_deref(), Some("gold"));
        assert!(second.application_server.include_register_request);
        let point = second.trigger_point.as_ref().unwrap();
        assert_eq!(point.form, Form::Disjunctive);
        assert_eq!(point.spts.len(), 5);
        assert!(point.spts[0].negated && !point.spts[1].negated);
        assert_eq!(point.spts[0].groups, [0, -2]);
        let kinds = [RegistrationType::Initial, RegistrationType::DeRegistration];
        assert_eq!(point.spts[0].registrations, kinds);
        assert!(matches!(&point.spts[3].condition, Condition::RequestUri(uri) if uri == "sip:x@y"));
    }

    #[test]
    fn faults_name_element_and_line() {
        let in_point = |spt: &str| {
            format!(
                "<InitialFilterCriteria>\n<Priority>1</Priority>\n<TriggerPoint>\
                 <ConditionTypeCNF>1</ConditionTypeCNF>\n{spt}</TriggerPoint>{SERVER}\
                 </InitialFilterCriteria>"
            )
        };
        let value = |text: &str| IfcFault::Value(text.to_owned());
        #[rustfmt::skip]
        let table = [
            ("<a/>".to_owned(), "a", 1, IfcFault::Root),
            (format!("<InitialFilterCriteria>{SERVER}</InitialFilterCriteria>"),
                "InitialFilterCriteria", 1, IfcFault::Missing("Priority")),
            ("<InitialFilterCriteria>\n<Priority>-1</Priority></InitialFilterCriteria>".to_owned(),
                "Priority", 2, value("-1")),
            (in_point(""), "TriggerPoint", 3, IfcFault::Missing("SPT")),
            (in_point("<SPT><Method>A</Method></SPT>"), "SPT", 4, IfcFault::Missing("Group")),
            (in_point("<SPT><Group>0</Group></SPT>"), "SPT", 4, IfcFault::Condition),
            (in_point("<SPT><Group>0</Group><Method>A</Method><Method>B</Method></SPT>"),
                "SPT", 4, IfcFault::Condition),
            (in_point("<SPT><Group>0</Group>\n<SessionCase>5</SessionCase></SPT>"),
                "SessionCase", 5, value("5")),
            (in_point("<SPT><ConditionNegated>no</ConditionNegated></SPT>"),
                "ConditionNegated", 4, value("no")),
            (in_point("<SPT><Group>0</Group><SIPHeader><Header>[</Header></SIPHeader></SPT>"),
                "Header", 4, IfcFault::Ere(super::EreError::Bracket)),
            ("<InitialFilterCriteria><Priority>1</Priority><ApplicationServer>\
              <ServerName>as</ServerName></ApplicationServer></InitialFilterCriteria>".to_owned(),
                "ServerName", 1, value("as")),
        ];
        for (xml, element, line, fault) in table {
            assert_eq!(fault_of(&xml), (element.to_owned(), line, fault), "{xml}");
        }
        let shown = profiles("<a/>").unwrap_err().to_string();
        assert!(shown.starts_with("line 1, a: expected"), "{shown}");
    }

    #[test]
    fn hostile_documents_are_refused() {
        let bomb = "<!DOCTYPE a [<!ENTITY x \"y\">]><ServiceProfile/>";
        assert!(matches!(fault_of(bomb).2, IfcFault::Xml(_)));
        assert!(matches!(fault_of("<ServiceProfile>\n<").2, IfcFault::Xml(_)));
        let long = " ".repeat(DOCUMENT_OCTETS_MAX + 1);
        assert_eq!(fault_of(&long).2, IfcFault::Size);
        let twice = format!(
            "<ServiceProfile>{0}{0}</ServiceProfile>",
            format_args!(
                "<InitialFilterCriteria><Priority>1</Priority>{SERVER}</InitialFilterCriteria>"
            )
        );
        assert_eq!(fault_of(&twice).2, IfcFault::Priority(1));
    }

    #[test]
    fn documents_are_bounded() {
        let of = |count: usize| {
            let one = |priority| {
                format!(
                    "<InitialFilterCriteria><Priority>{priority}</Priority>{SERVER}\
                     </InitialFilterCriteria>"
                )
            };
            let criteria: String = (0..count).map(one).collect();
            profiles(&format!("<ServiceProfile>{criteria}</ServiceProfile>"))
        };
        assert_eq!(of(CRITERIA_MAX).unwrap()[0].criteria.len(), CRITERIA_MAX);
        assert_eq!(of(CRITERIA_MAX + 1).unwrap_err().fault, IfcFault::TooMany(CRITERIA_MAX));
        let spts = |count| {
            let spts = "<SPT><Group>0</Group><Method>A</Method></SPT>".repeat(count);
            profiles(&format!(
                "<InitialFilterCriteria><Priority>1</Priority><TriggerPoint><ConditionTypeCNF>1\
                 </ConditionTypeCNF>{spts}</TriggerPoint>{SERVER}</InitialFilterCriteria>"
            ))
        };
        assert!(spts(SPTS_MAX).is_ok());
        assert_eq!(spts(SPTS_MAX + 1).unwrap_err().fault, IfcFault::TooMany(SPTS_MAX));
    }

    proptest! {
        #[test]
        fn never_panics(text: String) {
            let _ = profiles(&text);
            let _ = profiles(&format!("<ServiceProfile>{text}</ServiceProfile>"));
        }
    }
}
