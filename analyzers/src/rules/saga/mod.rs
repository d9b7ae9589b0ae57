//! Rules about sagas against their declared models.

mod compensated_ledger_mismatch;
mod compensation_failed;
mod compensation_incomplete;
mod compensation_partial;
mod compensation_stalled;
mod duplicate_instance;
mod effect_before_journal;
mod failed_without_compensation;
#[cfg(test)]
mod kit;
mod recovering;
mod recovery_decision_wrong;
mod recovery_ledger_mismatch;
mod retry_unbounded;
mod shared;
mod step_repeated_after_recovery;
mod undoing;
mod unfinished_after_restart;

use crate::engine::Rule;

/// A line each.
pub(super) const RULES: &[&dyn Rule] = &[
    &compensated_ledger_mismatch::CompensatedLedgerMismatch,
    &compensation_failed::CompensationFailed,
    &compensation_incomplete::CompensationIncomplete,
    &compensation_partial::CompensationPartial,
    &compensation_stalled::CompensationStalled,
    &duplicate_instance::DuplicateInstance,
    &effect_before_journal::EffectBeforeJournal,
    &failed_without_compensation::FailedWithoutCompensation,
    &recovery_decision_wrong::RecoveryDecisionWrong,
    &recovery_ledger_mismatch::RecoveryLedgerMismatch,
    &retry_unbounded::RetryUnbounded,
    &step_repeated_after_recovery::StepRepeatedAfterRecovery,
    &unfinished_after_restart::UnfinishedAfterRestart,
];
