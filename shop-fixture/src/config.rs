//! Owns the switches of a run and their file `config.json` in the run directory, from which every process of the run
//! reads them. Leaves parsing of a command line to the caller.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::ShopError;

macro_rules! switch {
    ($(#[$meta:meta])* $name:ident { $first:ident = $first_text:literal $(, $variant:ident = $text:literal)* $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
        pub enum $name {
            #[default]
            #[serde(rename = $first_text)]
            $first,
            $(#[serde(rename = $text)] $variant),*
        }

        impl $name {
            pub const TEXTS: &'static [&'static str] = &[$first_text $(, $text)*];

            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { Self::$first => $first_text $(, Self::$variant => $text)* }
            }
        }

        impl std::str::FromStr for $name {
            type Err = ShopError;

            fn from_str(text: &str) -> Result<Self, ShopError> {
                match text {
                    $first_text => Ok(Self::$first),
                    $($text => Ok(Self::$variant),)*
                    _ => Err(ShopError::Option {
                        option: stringify!($name),
                        value: text.to_owned(),
                        allowed: Self::TEXTS.join(", "),
                    }),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str(self.as_str())
            }
        }
    };
}

// The first value of each switch is its default.
switch!(
    /// How many instances of each service run.
    Profile { Default = "default", Tiny = "tiny", Full = "full" }
);
switch!(
    /// Whether breakers reject and callers retry.
    Resilience { On = "on", Observe = "observe", Off = "off" }
);
switch!(
    /// How events leave a service.
    Publish { Outbox = "outbox", Direct = "direct", Strict = "strict" }
);
switch!(
    /// Whether services sleep their base latency.
    Latency { Shopflow = "shopflow", None = "none" }
);
switch!(
    /// Background error rates.
    Noise { None = "none", Ta = "ta" }
);
switch!(
    /// The ports of table 1.1, or ephemeral ones.
    Ports { Fixed = "fixed", Auto = "auto" }
);
switch!(
    /// Which clients the gateway's rate limits apply to.
    RateLimit { Keys = "keys", All = "all", Off = "off" }
);
switch!(
    /// Whether the registry goes by heartbeats alone, asks once before an instance expires, or probes all the time.
    RegistryProbe { Off = "off", Confirm = "confirm", Active = "active" }
);
switch!(
    /// Whether the registry takes changes from callers that show no token.
    RegistryAuth { Open = "open", Required = "required" }
);
switch!(
    /// Whether a delivery by the bus continues the producer's trace or links to it.
    BusTrace { Link = "link", Child = "child" }
);
switch!(
    /// Whether the supervisor starts an instance again that ended abnormally.
    Restart { OnFailure = "on-failure", Never = "never" }
);

/// Every change goes from each registry node to each other one.
const MAX_REGISTRY_NODES: u16 = 5;

/// Every switch of one run; what `shop up` was told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ShopConfig {
    pub run_id: String,
    pub run_dir: PathBuf,
    pub profile: Profile,
    pub resilience: Resilience,
    pub publish: Publish,
    pub latency: Latency,
    pub noise: Noise,
    pub ports: Ports,
    pub rate_limit: RateLimit,
    pub bus_trace: BusTrace,
    pub restart: Restart,
    pub registry_probe: RegistryProbe,
    pub saga_model: String,
    pub blind: bool,
    pub trust_baggage: bool,
    pub demo_get: bool,
    pub registry_auth: RegistryAuth,
    /// How many registry nodes run, each with the whole table.
    pub registry_nodes: u16,
    /// What the tokens for the registry are sealed with; made anew for every run.
    pub registry_secret: String,
    pub seed: u64,
    pub time_scale: f64,
    /// Where telemetry goes; `None` keeps it in the local log files alone.
    pub otlp_endpoint: Option<String>,
}

pub const DEFAULT_OTLP_ENDPOINT: &str = "http://127.0.0.1:4317";

impl ShopConfig {
    /// The defaults, for a run that lives in `run_dir`.
    #[must_use]
    pub fn new(run_dir: PathBuf) -> Self {
        Self {
            run_id: crate::ids::ulid(""),
            run_dir,
            profile: Profile::Default,
            resilience: Resilience::On,
            publish: Publish::Outbox,
            latency: Latency::Shopflow,
            noise: Noise::None,
            ports: Ports::Fixed,
            rate_limit: RateLimit::Keys,
            bus_trace: BusTrace::Link,
            restart: Restart::OnFailure,
            registry_probe: RegistryProbe::Off,
            saga_model: "shopflow".to_owned(),
            blind: false,
            trust_baggage: false,
            demo_get: true,
            registry_auth: RegistryAuth::Open,
            registry_nodes: 1,
            registry_secret: crate::ids::uuid(),
            seed: 0,
            time_scale: 1.0,
            otlp_endpoint: Some(DEFAULT_OTLP_ENDPOINT.to_owned()),
        }
    }

    /// Refuses settings that cannot work.
    pub fn check(&self) -> Result<(), ShopError> {
        if !(self.time_scale.is_finite() && (0.01..=1000.0).contains(&self.time_scale)) {
            return Err(ShopError::Option {
                option: "time-scale",
                value: self.time_scale.to_string(),
                allowed: "0.01 to 1000".to_owned(),
            });
        }
        if !crate::saga::models::CHOICES.contains(&self.saga_model.as_str()) {
            return Err(ShopError::Option {
                option: "saga-model",
                value: self.saga_model.clone(),
                allowed: crate::saga::models::CHOICES.join(", "),
            });
        }
        if !(1..=MAX_REGISTRY_NODES).contains(&self.registry_nodes) {
            return Err(ShopError::Option {
                option: "registry-nodes",
                value: self.registry_nodes.to_string(),
                allowed: format!("1 to {MAX_REGISTRY_NODES}"),
            });
        }
        if let Some(endpoint) = &self.otlp_endpoint
            && !endpoint.starts_with("http://")
        {
            return Err(ShopError::Option {
                option: "otlp endpoint",
                value: endpoint.clone(),
                allowed: "http://host:port of a collector's gRPC receiver".to_owned(),
            });
        }
        crate::resilience::timeouts::check_ladder()
    }

    /// An interval of the marked kind, shortened by the time scale.
    #[must_use]
    pub fn scaled(&self, interval: Duration) -> Duration {
        interval.div_f64(self.time_scale)
    }

    #[must_use]
    pub fn db_path(&self, service: &str) -> PathBuf {
        self.run_dir.join("db").join(format!("{service}.sqlite"))
    }

    #[must_use]
    pub fn log_path(&self, instance: &str) -> PathBuf {
        self.run_dir.join("logs").join(format!("{instance}.jsonl"))
    }

    pub fn load(run_dir: &Path) -> Result<Self, ShopError> {
        read_json(&run_dir.join("config.json"))
    }

    pub fn save(&self) -> Result<(), ShopError> {
        write_json(&self.run_dir.join("config.json"), self)
    }
}

/// What `ports.json` says: where everything listens.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct PortsFile {
    pub run_id: String,
    pub supervisor: String,
    pub gateway: Option<String>,
    pub registry: Option<String>,
    /// Every registry node, the first one included.
    #[serde(default)]
    pub registries: Vec<String>,
    pub instances: Vec<InstancePorts>,
}

/// The listening ports of one instance; also what it tells the supervisor once it listens.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstancePorts {
    pub service: String,
    pub instance: u16,
    pub pid: u32,
    /// The id under which it registers.
    pub id: String,
    pub http: Option<u16>,
    pub grpc: Option<u16>,
    pub admin: u16,
}

impl PortsFile {
    pub fn load(run_dir: &Path) -> Result<Self, ShopError> {
        read_json(&run_dir.join("ports.json"))
    }

    pub fn save(&self, run_dir: &Path) -> Result<(), ShopError> {
        write_json(&run_dir.join("ports.json"), self)
    }
}

/// Reads a JSON file of the run directory.
pub fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, ShopError> {
    let bytes = std::fs::read(path).map_err(|source| ShopError::file("read", path, source))?;
    serde_json::from_slice(&bytes).map_err(|source| ShopError::Json {
        path: path.to_owned(),
        source,
    })
}

/// Replaces a JSON file atomically, so that a reader never sees half of it.
pub fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), ShopError> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|source| ShopError::Json {
        path: path.to_owned(),
        source,
    })?;
    bytes.push(b'\n');
    // Two tasks of one process may write the same file at the same time: each has a draft of its own.
    static DRAFTS: AtomicU64 = AtomicU64::new(0);
    let draft = DRAFTS.fetch_add(1, Ordering::Relaxed);
    let fresh = path.with_extension(format!("tmp{}-{draft}", std::process::id()));
    std::fs::write(&fresh, bytes).map_err(|source| ShopError::file("write", &fresh, source))?;
    std::fs::rename(&fresh, path).map_err(|source| ShopError::file("replace", path, source))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_that_write_the_same_file_at_once_all_succeed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ports.json");
        std::thread::scope(|scope| {
            let writers: Vec<_> = (0..4)
                .map(|writer| {
                    let path = path.clone();
                    scope.spawn(move || (0..300).try_for_each(|_| write_json(&path, &writer)))
                })
                .collect();
            for writer in writers {
                writer.join().unwrap().unwrap();
            }
        });
        assert!(read_json::<u8>(&path).unwrap() < 4);
        let left = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 1, "drafts are left behind");
    }
}
