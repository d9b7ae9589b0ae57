//! Rules about what a registry says and what callers make of it.

mod cached_after_removal;
mod field_address_unroutable;
mod field_health_path_wrong;
mod field_id_malformed;
mod field_metadata_missing;
mod field_name_inconsistent;
mod heartbeat_lost;
mod instance_id_collision;
pub(super) mod lookup_name_misses_row;
pub(super) mod lookups;
mod never_registered;

use crate::engine::Rule;

/// A line each.
pub(super) const RULES: &[&dyn Rule] = &[
    &cached_after_removal::CachedAfterRemoval,
    &field_address_unroutable::FieldAddressUnroutable,
    &field_health_path_wrong::FieldHealthPathWrong,
    &field_id_malformed::FieldIdMalformed,
    &field_metadata_missing::FieldMetadataMissing,
    &field_name_inconsistent::FieldNameInconsistent,
    &instance_id_collision::InstanceIdCollision,
    &lookup_name_misses_row::LookupNameMissesRow,
    &heartbeat_lost::HeartbeatLost,
    &never_registered::NeverRegistered,
];
