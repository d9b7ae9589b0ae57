//! Owns what a process was built from, as the shop plays it: version, track, an injected behaviour, and the schema that it
//! needs. The supervisor writes it down before it starts the process; without such a file it is the release that every
//! run begins with.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::behaviour::Behaviour;
use crate::config::{read_json, write_json};
use crate::error::ShopError;

pub const FIRST_VERSION: &str = "1.0.0";
pub const STABLE: &str = "stable";
pub const CANARY: &str = "canary";
pub const BLUE: &str = "blue";
pub const GREEN: &str = "green";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    #[serde(default = "first_version")]
    pub version: String,
    #[serde(default = "stable")]
    pub track: String,
    /// What the release does to every request that carries no behaviour of its own.
    #[serde(default)]
    pub behavior: String,
    /// The level that the store must have before the process is ready.
    #[serde(default = "one")]
    pub schema_level: u32,
    #[serde(default = "one")]
    pub proto_level: u32,
    /// Whether it is in the registry as starting until the supervisor lets it take calls.
    #[serde(default)]
    pub held: bool,
}

fn first_version() -> String {
    FIRST_VERSION.to_owned()
}

fn stable() -> String {
    STABLE.to_owned()
}

fn one() -> u32 {
    1
}

impl Default for Release {
    fn default() -> Self {
        Self {
            version: first_version(),
            track: stable(),
            behavior: String::new(),
            schema_level: 1,
            proto_level: 1,
            held: false,
        }
    }
}

impl Release {
    fn path(run_dir: &Path, label: &str) -> PathBuf {
        run_dir.join("releases").join(format!("{label}.json"))
    }

    /// What an instance is to be started from.
    pub fn load(run_dir: &Path, label: &str) -> Result<Self, ShopError> {
        let path = Self::path(run_dir, label);
        if path.exists() {
            read_json(&path)
        } else {
            Ok(Self::default())
        }
    }

    pub fn save(&self, run_dir: &Path, label: &str) -> Result<(), ShopError> {
        let path = Self::path(run_dir, label);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .map_err(|source| ShopError::file("create", folder, source))?;
        }
        write_json(&path, self)
    }

    /// The next process of that name begins as any other.
    pub fn forget(run_dir: &Path, label: &str) {
        // One that was never written is as good as gone.
        let _ = std::fs::remove_file(Self::path(run_dir, label));
    }

    /// What is wrong with it, if anything is.
    pub fn check(&self) -> Result<(), String> {
        let plain = |text: &str| {
            (1..=32).contains(&text.len())
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b".-+_".contains(&byte))
        };
        if !plain(&self.version) {
            return Err("version must have from 1 to 32 letters, digits, dots and dashes".into());
        }
        if self.proto_level != 1 {
            return Err("there is one level of the contracts, 1".into());
        }
        Behaviour::parse(&self.behavior)
            .map(|_| ())
            .map_err(|error| format!("behavior at {}: {error}", error.position))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_is_the_first_release() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(
            Release::load(folder.path(), "payment-2").unwrap(),
            Release::default()
        );
        let release = Release {
            version: "1.1.0".to_owned(),
            track: CANARY.to_owned(),
            behavior: "payment:latency=5ms".to_owned(),
            ..Release::default()
        };
        release.save(folder.path(), "payment-2").unwrap();
        assert_eq!(Release::load(folder.path(), "payment-2").unwrap(), release);
    }

    #[test]
    fn versions_and_behaviours_are_looked_at() {
        let with = |version: &str, behavior: &str| Release {
            version: version.to_owned(),
            behavior: behavior.to_owned(),
            ..Release::default()
        };
        assert_eq!(with("2.0.0-rc1", "payment:error=0.2").check(), Ok(()));
        assert!(with("", "").check().is_err() && with("a b", "").check().is_err());
        assert!(with("1", "payment:panic=1").check().is_err());
    }
}
