//! The controlling functions of all shards, and what is called by their identities.

use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parlance_controlling::explode::{Exploder, ExploderSetup};
use parlance_controlling::{Controlling, GroupFiles, Policy, Quota, Register, Setup};
use parlance_isc::service::{Service, Services};
use parlance_isc::{Locals, Marks, Media, Node};
use parlance_sip::ListenerId;
use parlance_sip::uri::Aor;
use parlance_store::Explosions;

use crate::config::Config;

/// What the controlling functions of all shards share.
pub(super) struct Conferences {
    policy: Arc<ArcSwap<Policy>>,
    groups: GroupFiles,
    quota: Arc<Quota>,
    register: Arc<Register>,
    exploder: Exploder,
    /// The exploder, as it is called.
    exploder_uri: String,
    /// The beginning and the domain of session identities.
    prefix: String,
    domain: String,
}

impl Conferences {
    /// `None`: the operator wants none.
    pub(super) fn new(
        config: &Config,
        locals: &Locals,
        listener: ListenerId,
        marks: &Marks,
        explosions: &Arc<dyn Explosions>,
        media: &Media,
    ) -> Option<Self> {
        let section = &config.controlling;
        if !section.enabled {
            return None;
        }
        let own = locals.0.iter().find(|local| local.id == listener);
        let own = own.map_or("im.invalid", |own| own.sent_by.as_str());
        let groups = GroupFiles::new(section.groups.clone().unwrap_or_default());
        let policy = Arc::new(ArcSwap::from_pointee(policy(config)));
        let setup = ExploderSetup {
            marks: marks.clone(),
            domains: config.sip.domains.clone(),
            listener,
            explosions: Arc::clone(explosions),
            media: media.clone(),
        };
        let in_force = Arc::clone(&policy);
        let conferences = Self {
            policy,
            groups,
            quota: Arc::default(),
            register: Arc::default(),
            exploder: Exploder::new(move || in_force.load_full(), setup),
            exploder_uri: config.explode.identity(&config.sip),
            prefix: section.session_prefix.clone(),
            domain: section.session_domain.clone().unwrap_or_else(|| own.to_owned()),
        };
        conferences.load_groups(section.groups.is_some());
        Some(conferences)
    }

    pub(super) fn reload(&self, config: &Config) {
        self.policy.store(Arc::new(policy(config)));
        self.load_groups(config.controlling.groups.is_some());
    }

    fn load_groups(&self, has_directory: bool) {
        if !has_directory {
            return;
        }
        match self.groups.load() {
            Ok(faults) => {
                for fault in faults {
                    tracing::warn!(%fault, "a group document is left out");
                }
            }
            Err(error) => tracing::warn!(%error, "the directory of groups cannot be read"),
        }
    }

    /// Says which identities are those of conferences.
    pub(super) fn serve(&self, config: &Config, services: &mut Services) {
        services.running.controlling = true;
        if let Ok(factory) = config.controlling.factory(&config.sip).parse() {
            services.identity(factory, Service::ConferenceFactory);
        }
        if let Ok(exploder) = self.exploder_uri.parse() {
            services.identity(exploder, Service::Exploder);
        }
        for group in self.groups.identities() {
            services.identity(group, Service::Group);
        }
        for domain in &config.sip.domains {
            services.family(&config.controlling.group_prefix, domain, Service::Group);
        }
        // As identities have it: without the usual port.
        let session = Aor::parse(&format!("sip:{}0@{}", self.prefix, self.domain));
        if let Some(domain) = session.ok().as_ref().and_then(Aor::domain) {
            services.family(&self.prefix, domain, Service::Session);
        }
    }

    /// The groups.
    #[cfg(test)]
    pub(super) fn groups(&self) -> &GroupFiles {
        &self.groups
    }

    /// The sessions of all shards.
    pub(super) fn register(&self) -> &Arc<Register> {
        &self.register
    }

    /// The exploder of all shards.
    pub(super) fn exploder(&self) -> &Exploder {
        &self.exploder
    }

    /// The function of one shard.
    pub(super) fn function(&self, node: &Node, media: &Media, listener: ListenerId) -> Controlling {
        let policy = Arc::clone(&self.policy);
        let setup = Setup {
            groups: Rc::new(self.groups.clone()),
            media: media.clone(),
            listener,
            prefix: self.prefix.clone(),
            domain: self.domain.clone(),
            quota: Arc::clone(&self.quota),
            register: Arc::clone(&self.register),
            clock: node.clock,
        };
        Controlling::new(move || policy.load_full(), setup).with_exploder(&self.exploder)
    }
}

/// What the operator decides for the function and its exploder.
fn policy(config: &Config) -> Policy {
    Policy { explode: config.explode.policy(), ..config.controlling.policy(&config.sip) }
}
