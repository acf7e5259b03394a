//! The five stores together.

use std::sync::Arc;

use crate::{
    Audit, Embedded, EmbeddedConfig, Explosions, Inboxes, Memory, OpenError, Profiles,
    Registrations,
};

/// Everything a server keeps, whatever keeps it. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    /// Who is registered.
    pub registrations: Arc<dyn Registrations>,
    /// Who wants what.
    pub profiles: Arc<dyn Profiles>,
    /// What waits for whom.
    pub inboxes: Arc<dyn Inboxes>,
    /// What is on its way to many.
    pub explosions: Arc<dyn Explosions>,
    /// Who looked at it.
    pub audit: Arc<dyn Audit>,
}

impl Store {
    /// The five faces of one implementation.
    pub fn of<S>(store: Arc<S>) -> Store
    where
        S: Registrations + Profiles + Inboxes + Explosions + Audit + 'static,
    {
        Store {
            registrations: store.clone(),
            profiles: store.clone(),
            inboxes: store.clone(),
            explosions: store.clone(),
            audit: store,
        }
    }

    /// A store that forgets: for scenarios.
    pub fn memory() -> Store {
        Store::of(Arc::new(Memory::new()))
    }

    /// The durable store in one file. Blocks: see [`Embedded::open`].
    ///
    /// # Errors
    /// [`OpenError`], with what to do about it.
    pub fn embedded(config: EmbeddedConfig) -> Result<Store, OpenError> {
        Ok(Store::of(Arc::new(Embedded::open(config)?)))
    }
}
