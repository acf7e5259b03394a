//! What cargo says of the workspace.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

/// The top of the workspace.
pub(crate) fn root() -> PathBuf {
    let package = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    package.parent().expect("the package lies in the workspace").to_path_buf()
}

/// Runs cargo at the top of the workspace, without a network, and gives what it prints.
pub(crate) fn cargo(arguments: &[&str]) -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(root()).args(arguments).args(["--offline", "--locked"]);
    let output = command.output().unwrap_or_else(|error| panic!("cargo does not run: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo {}: {errors}", arguments.join(" "));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// `cargo metadata` for this machine: of other platforms' packages not even the manifest may have
/// been downloaded.
pub(crate) fn metadata() -> &'static Value {
    static METADATA: OnceLock<Value> = OnceLock::new();
    METADATA.get_or_init(|| {
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let version = Command::new(rustc).arg("-vV").output().expect("rustc runs");
        let version = String::from_utf8_lossy(&version.stdout).into_owned();
        let host = version.lines().find_map(|line| line.strip_prefix("host: "));
        let host = host.expect("rustc says what it runs on");
        let text = cargo(&["metadata", "--format-version", "1", "--filter-platform", host]);
        serde_json::from_str(&text).expect("cargo writes JSON")
    })
}

/// The packages of the workspace: name without `parlance-`, and what cargo says of each.
pub(crate) fn members() -> Vec<(String, &'static Value)> {
    let metadata = metadata();
    let ids = array(&metadata["workspace_members"]);
    let packages = array(&metadata["packages"]).iter();
    let members = packages.filter(|package| ids.contains(&package["id"]));
    let mut members: Vec<_> = members
        .map(|package| {
            let name = text(&package["name"]);
            (name.strip_prefix("parlance-").unwrap_or(name).to_owned(), package)
        })
        .collect();
    members.sort_by(|one, other| one.0.cmp(&other.0));
    members
}

/// The elements of an array.
#[track_caller]
pub(crate) fn array(value: &Value) -> &Vec<Value> {
    value.as_array().expect("it is an array")
}

/// The text of a string.
#[track_caller]
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().expect("it is a string")
}
