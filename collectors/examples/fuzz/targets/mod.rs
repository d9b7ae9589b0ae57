//! What there is to feed. One file a target; each checks by itself what must hold of what it decodes.

mod case_log;
mod compression;
mod exposition;
mod import;
mod otlp_json;
mod otlp_protobuf;
mod registry;

use crate::harness::Target;

pub(crate) fn all() -> Vec<Target> {
    vec![
        otlp_json::target(),
        otlp_protobuf::target(),
        compression::target(),
        exposition::target(),
        import::target(),
        registry::target(),
        case_log::target(),
    ]
}
