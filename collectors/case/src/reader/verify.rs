//! Whether a case is what it was written as: every file against its hash, every live frame against its checksum.

use std::fs::File;
use std::io::Read;

use super::Case;
use crate::CaseError;
use crate::log::TornKind;
use crate::manifest::Manifest;

/// What a look at every byte found.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Verification {
    pub files: usize,
    pub bytes: u64,
    pub live_frames: u64,
    /// The seal's hash, if the case is sealed and the hash fits the files listed.
    pub seal: Option<String>,
    pub damage: Vec<Damage>,
}

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Damage {
    pub path: String,
    pub what: String,
    /// Items that may be lost by it.
    pub items: u64,
}

impl Case {
    /// Reads everything. `progress` is called with bytes done and bytes in all.
    pub fn verify(&self, mut progress: impl FnMut(u64, u64)) -> Result<Verification, CaseError> {
        let manifest = self.manifest();
        let total = manifest
            .segments
            .iter()
            .map(|segment| segment.bytes())
            .sum();
        let mut verification = Verification {
            files: 0,
            bytes: 0,
            live_frames: 0,
            seal: None,
            damage: Vec::new(),
        };
        for file in manifest.segments.iter().flat_map(|segment| &segment.files) {
            verification.files += 1;
            verification.bytes += file.bytes;
            let path = self.path().join(&file.path);
            let what = match hash(&path) {
                Ok(found) if found == file.hash => None,
                Ok(_) => Some("its bytes are not those that were written".to_owned()),
                Err(error) => Some(error.to_string()),
            };
            if let Some(what) = what {
                verification.damage.push(Damage {
                    path: file.path.clone(),
                    what,
                    items: file.rows,
                });
            }
            progress(verification.bytes, total);
        }
        for mut reader in self.open_live()? {
            let mut payload = Vec::new();
            loop {
                while reader.next(&mut payload)?.is_some() {
                    verification.live_frames += 1;
                }
                let Some(torn) = reader.gap()? else { break };
                if torn.kind == TornKind::CutShort {
                    continue;
                }
                verification.damage.push(Damage {
                    path: format!(
                        "log/{}",
                        reader.path().file_name().unwrap_or_default().display()
                    ),
                    what: format!(
                        "{} ({} bytes at byte {})",
                        torn.reason, torn.bytes, torn.offset
                    ),
                    items: 0,
                });
            }
        }
        verification
            .damage
            .extend(manifest.damaged.iter().map(|what| Damage {
                path: "log".to_owned(),
                what: what.clone(),
                items: 0,
            }));
        if let (_, Some(what)) = Manifest::load_noting(self.path())? {
            verification.damage.push(Damage {
                path: "manifest.json".to_owned(),
                what: format!("{what}; its copy serves in its place"),
                items: 0,
            });
        }
        if let Some(seal) = &manifest.sealed {
            if seal.hash == manifest.content_hash() {
                verification.seal = Some(seal.hash.clone());
            } else {
                verification.damage.push(Damage {
                    path: "manifest.json".to_owned(),
                    what: "the files it lists are not those that were sealed".to_owned(),
                    items: 0,
                });
            }
        }
        Ok(verification)
    }
}

fn hash(path: &std::path::Path) -> Result<String, CaseError> {
    let mut file = File::open(path).map_err(CaseError::io("open", path))?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        let read = file
            .read(&mut buffer)
            .map_err(CaseError::io("read", path))?;
        if read == 0 {
            return Ok(hasher.finalize().to_hex().to_string());
        }
        hasher.update(&buffer[..read]);
    }
}
