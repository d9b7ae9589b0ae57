//! What to scrape, and what its metrics are said to belong to.

use std::str::FromStr;

use case::signal::{RegistryInstance, RegistrySnapshot};

use crate::fetch::{Endpoint, EndpointError, HostPort, Reach};

/// One metrics page.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    pub endpoint: Endpoint,
    /// Becomes `service.name`.
    pub service: String,
    /// Becomes `service.instance.id`.
    pub instance: String,
    /// Further resource attributes.
    pub attributes: Vec<(String, String)>,
    /// Whether a registry named it. Then its id is the registry's, and only what registries may point to is contacted.
    pub registered: bool,
}

/// Why there is nothing to scrape.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    #[error("scrape target: {0}")]
    Url(#[from] EndpointError),
    #[error("scrape target {0:?} has an empty name before its =")]
    Name(String),
}

impl FromStr for Target {
    type Err = TargetError;

    /// `http://host:port/path`, or `service=http://…`. Without a path, `/metrics` is meant.
    fn from_str(text: &str) -> Result<Target, TargetError> {
        let (service, url) = match text.split_once('=') {
            Some((service, url)) if !service.contains('/') => (Some(service.trim()), url.trim()),
            _ => (None, text.trim()),
        };
        if service == Some("") {
            return Err(TargetError::Name(text.chars().take(200).collect()));
        }
        let mut endpoint: Endpoint = url.parse()?;
        if endpoint.path == "/" {
            endpoint.path = "/metrics".into();
        }
        let instance = endpoint.at.to_string();
        Ok(Target {
            service: service.map_or_else(|| instance.clone(), str::to_owned),
            instance,
            endpoint,
            attributes: Vec::new(),
            registered: false,
        })
    }
}

impl Target {
    /// The page of one registered instance: its host with the port its metadata names for metrics.
    pub fn of_instance(instance: &RegistryInstance) -> Result<Target, String> {
        let port = instance
            .metadata
            .get("metrics_port")
            .ok_or("its registration names no metrics_port")?;
        let port: u16 = port
            .trim()
            .parse()
            .ok()
            .filter(|port| *port != 0)
            .ok_or_else(|| format!("its metrics_port is {port:?}, no port"))?;
        let address: HostPort = instance
            .address
            .parse()
            .map_err(|error: EndpointError| format!("its address {error}"))?;
        let endpoint = Endpoint::new(HostPort::new(address.host, port), "/metrics")
            .map_err(|error| error.to_string())?;
        let mut attributes = Vec::new();
        if let Some(version) = instance.metadata.get("version") {
            attributes.push(("service.version".to_owned(), version.clone()));
        }
        Ok(Target {
            endpoint,
            service: instance.name.clone(),
            instance: instance.id.clone(),
            attributes,
            registered: true,
        })
    }

    /// Everything a registry lists, with what can't be scraped and why.
    pub fn of_snapshot(
        snapshot: &RegistrySnapshot,
    ) -> (Vec<Target>, Vec<(RegistryInstance, String)>) {
        let (mut targets, mut without) = (Vec::new(), Vec::new());
        for instance in snapshot
            .instances
            .iter()
            .filter(|instance| instance.status != "removed")
        {
            match Target::of_instance(instance) {
                Ok(target) => targets.push(target),
                Err(reason) => without.push((instance.clone(), reason)),
            }
        }
        targets.sort();
        // Two registrations may name one page (a copied id, a stale entry): scraping it once tells as much.
        targets.dedup_by(|a, b| a.endpoint == b.endpoint);
        (targets, without)
    }

    pub(super) fn reach(&self, registered: Reach) -> Reach {
        if self.registered {
            registered
        } else {
            Reach::Anywhere
        }
    }

    pub(super) fn resource(&self) -> Vec<(String, String)> {
        let mut resource = vec![
            ("service.name".to_owned(), self.service.clone()),
            ("service.instance.id".to_owned(), self.instance.clone()),
        ];
        resource.extend(self.attributes.iter().cloned());
        resource.push(("server.address".to_owned(), self.endpoint.at.host.clone()));
        resource.push(("server.port".to_owned(), self.endpoint.at.port.to_string()));
        resource.push(("url.scheme".to_owned(), "http".to_owned()));
        resource
    }
}
