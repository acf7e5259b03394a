//! Groups kept as files: one document each, in one directory.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::{fmt, fs, io};

use parlance_isc::Local;
use parlance_sip::uri::Aor;

use super::{Group, GroupFault, Groups, GroupsUnavailable};

/// Group documents in a directory, read when they are loaded. Cheap to clone; shared by all shards.
///
/// Every file whose name ends in `.xml` is one group. A file that cannot be read is left out, and
/// the group it had stays as it was.
#[derive(Clone)]
pub struct GroupFiles {
    directory: PathBuf,
    known: Arc<RwLock<Known>>,
}

#[derive(Default)]
struct Known {
    groups: HashMap<Aor, Arc<Group>>,
    /// Which group each file had.
    files: HashMap<PathBuf, Aor>,
}

/// What is wrong with one file.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", path.display())]
pub struct FileFault {
    /// Which file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: Why,
}

/// Why a file is left out.
#[derive(Debug, thiserror::Error)]
pub enum Why {
    /// It cannot be opened.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is no group.
    #[error(transparent)]
    Group(#[from] GroupFault),
    /// Another file has a group of the same identity.
    #[error("the group is in another file too")]
    Twice,
}

impl GroupFiles {
    /// The groups in `directory`; none before [`GroupFiles::load`].
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), known: Arc::default() }
    }

    /// Reads all files again; what is wrong with those that are left out. Blocks.
    ///
    /// # Errors
    /// The directory cannot be read; everything stays as it was.
    pub fn load(&self) -> io::Result<Vec<FileFault>> {
        let mut paths = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "xml") {
                paths.push(path);
            }
        }
        // The first of two files of one group counts, whatever order the directory has.
        paths.sort();
        let mut faults = Vec::new();
        let mut next = Known::default();
        for path in paths {
            let group = match read(&path) {
                Ok(group) => Arc::new(group),
                Err(why) => {
                    let before = self.before(&path);
                    faults.push(FileFault { path: path.clone(), why });
                    let Some(group) = before else { continue };
                    group
                }
            };
            let identity = group.identity().clone();
            if next.groups.contains_key(&identity) {
                faults.push(FileFault { path, why: Why::Twice });
                continue;
            }
            next.files.insert(path, identity.clone());
            next.groups.insert(identity, group);
        }
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(faults)
    }

    fn before(&self, path: &Path) -> Option<Arc<Group>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.groups.get(known.files.get(path)?).cloned()
    }

    /// The identities of all groups.
    pub fn identities(&self) -> Vec<Aor> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.groups.keys().cloned().collect()
    }

    /// The group of this identity.
    pub fn find(&self, identity: &Aor) -> Option<Arc<Group>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.groups.get(identity).cloned()
    }
}

impl Groups for GroupFiles {
    fn group<'a>(
        &'a self,
        identity: &'a Aor,
    ) -> Local<'a, Result<Option<Arc<Group>>, GroupsUnavailable>> {
        Box::pin(async move { Ok(self.find(identity)) })
    }
}

impl fmt::Debug for GroupFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupFiles").field("directory", &self.directory).finish_non_exhaustive()
    }
}

fn read(path: &Path) -> Result<Group, Why> {
    Ok(Group::read(&fs::read(path)?)?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{GroupFiles, Why};
    use crate::groups::Groups;

    fn document(uri: &str, subject: &str) -> String {
        format!(
            "<group xmlns=\"urn:oma:xml:poc:list-service\" \
             xmlns:oxe=\"urn:oma:xml:xdm:extensions\"><list-service uri=\"{uri}\">\
             <list><entry uri=\"sip:alice@ims.test\"/></list>\
             <oxe:subject>{subject}</oxe:subject></list-service></group>"
        )
    }

    // Covers: CF-034
    #[tokio::test]
    async fn every_file_is_a_group() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
        write("a.xml", &document("sip:chess@ims.test", "Openings"));
        write("b.xml", &document("sip:chess@IMS.test:5060", "Twice"));
        write("c.xml", "<group/>");
        write("notes.txt", "no group");
        let groups = GroupFiles::new(directory.path());
        assert!(groups.identities().is_empty());
        let faults = groups.load().unwrap();
        let left_out: Vec<_> = faults.iter().map(|fault| fault.path.file_name().unwrap()).collect();
        assert_eq!(left_out, ["b.xml", "c.xml"]);
        assert!(matches!(faults[0].why, Why::Twice), "{}", faults[0]);
        let chess = "sip:chess@ims.test".parse().unwrap();
        let found = groups.group(&chess).await.unwrap().unwrap();
        assert_eq!(found.subject(), Some("Openings"));
        assert_eq!(groups.group(&"sip:go@ims.test".parse().unwrap()).await, Ok(None));

        // A file that is broken for a while does not end the group.
        write("a.xml", "<group");
        assert_eq!(groups.load().unwrap().len(), 3);
        assert!(groups.find(&chess).is_some());
        fs::remove_file(directory.path().join("a.xml")).unwrap();
        groups.load().unwrap();
        assert_eq!(groups.find(&chess).unwrap().subject(), Some("Twice"));
        fs::remove_file(directory.path().join("b.xml")).unwrap();
        groups.load().unwrap();
        assert!(groups.find(&chess).is_none());
        assert!(GroupFiles::new("/nowhere/at/all").load().is_err());
    }
}
