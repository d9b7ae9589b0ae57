//! Owns the steps of a schema's migration while releases that know the old schema and releases that know the new one run
//! side by side. What a step does to which table is the service's own.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::catalog::PAYMENT;
use crate::error::ApiError;
use crate::runtime::Rt;
use crate::store::{StoreError, Tx};
use crate::telemetry::Attributes;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MigrationPhase {
    /// New columns, which nobody has to fill.
    Expand,
    /// What the old columns hold is copied into them.
    Backfill,
    /// The old columns go.
    Contract,
}

impl MigrationPhase {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expand => "expand",
            Self::Backfill => "backfill",
            Self::Contract => "contract",
        }
    }

    /// The schema level of a release that can live with a store on which this step was taken, whatever came before.
    #[must_use]
    pub fn level(self) -> u32 {
        match self {
            Self::Expand => 1,
            Self::Backfill => 2,
            Self::Contract => 3,
        }
    }

    fn before(self) -> Option<Self> {
        match self {
            Self::Expand => None,
            Self::Backfill => Some(Self::Expand),
            Self::Contract => Some(Self::Backfill),
        }
    }
}

/// One step as a service defines it.
pub struct Step {
    pub phase: MigrationPhase,
    /// Statements for all at once; empty where `batch` does the work.
    pub sql: &'static str,
    /// A statement that changes some rows and is repeated until it changes none.
    pub batch: &'static str,
}

fn steps(service: &str) -> &'static [Step] {
    match service {
        PAYMENT => super::payment::MIGRATION,
        _ => &[],
    }
}

/// The highest level that a release of this service may ask for.
#[must_use]
pub fn highest_level(service: &str) -> u32 {
    steps(service)
        .iter()
        .map(|step| step.phase.level())
        .max()
        .unwrap_or(1)
}

/// Takes a step; one that was taken before is left as it is.
pub async fn run(rt: &Rt, phase: MigrationPhase) -> Result<Value, ApiError> {
    let step = steps(rt.spec.name)
        .iter()
        .find(|step| step.phase == phase)
        .ok_or_else(|| ApiError::invalid(format!("{} has no schema to migrate", rt.spec.name)))?;
    let store = rt.store()?;
    let known = store
        .read::<_, StoreError, _>(|tx| Ok((is_taken(tx, phase)?, missing_before(tx, phase)?)))
        .await?;
    let mut rows = 0;
    match known {
        (true, _) => {
            return Ok(json!({ "phase": phase, "applied": false, "rows": 0 }));
        }
        (false, Some(missing)) => {
            return Err(ApiError::invalid(format!(
                "{} comes before {}",
                missing.as_str(),
                phase.as_str()
            )));
        }
        (false, None) => {}
    }
    if !step.batch.is_empty() {
        loop {
            let before = rows;
            let changed = store
                .write::<_, StoreError, _>(move |tx| batch(tx, step, before))
                .await?;
            rows += changed;
            if changed == 0 {
                break;
            }
        }
    }
    store
        .write::<_, StoreError, _>(move |tx| {
            if !step.sql.is_empty() {
                tx.execute_all("ALTER TABLE", step.sql)?;
            }
            note(tx, step)
        })
        .await?;
    rt.telemetry.info(
        "migration.applied",
        "a step of the schema's migration was taken",
        Attributes::new()
            .with("migration.phase", phase.as_str())
            .with("migration.rows", rows as i64),
    );
    Ok(json!({ "phase": phase, "applied": true, "rows": rows }))
}

/// One batch, with the row that tells how far it has come.
fn batch(tx: &Tx<'_>, step: &Step, before: usize) -> Result<usize, StoreError> {
    let changed = tx.execute("UPDATE batch", step.batch, [])?;
    tx.execute(
        "UPDATE migration_progress",
        "INSERT INTO migration_progress VALUES (?1, ?2, ?3)
         ON CONFLICT (phase) DO UPDATE SET rows = excluded.rows, updated_at = excluded.updated_at",
        (
            step.phase.as_str(),
            (before + changed) as i64,
            tx.now_text(),
        ),
    )?;
    Ok(changed)
}

fn note(tx: &Tx<'_>, step: &Step) -> Result<(), StoreError> {
    let text = [step.sql, step.batch].concat();
    let checksum = format!("{:016x}", crate::rng::fnv1a(text.as_bytes()));
    tx.execute(
        "INSERT schema_migrations",
        "INSERT INTO schema_migrations
         SELECT coalesce(max(version), 0) + 1, ?1, ?2, ?3 FROM schema_migrations",
        (online(step.phase), checksum, tx.now_text()),
    )?;
    Ok(())
}

/// The phase as the table has it: what every store begins with is an expansion of its own kind.
fn online(phase: MigrationPhase) -> String {
    format!("online {}", phase.as_str())
}

fn is_taken(tx: &Tx<'_>, phase: MigrationPhase) -> Result<bool, StoreError> {
    let found = tx.one(
        "SELECT schema_migrations",
        "SELECT 1 FROM schema_migrations WHERE phase = ?1",
        [online(phase)],
        |_| Ok(()),
    )?;
    Ok(found.is_some())
}

fn missing_before(
    tx: &Tx<'_>,
    phase: MigrationPhase,
) -> Result<Option<MigrationPhase>, StoreError> {
    match phase.before() {
        Some(before) if !is_taken(tx, before)? => Ok(Some(before)),
        _ => Ok(None),
    }
}

/// Whether the store is as far as this process's release needs it to be. What is to be taken away later is still there.
pub async fn check(rt: &Rt) -> Result<(), ApiError> {
    let wanted = rt.release.schema_level;
    if wanted < MigrationPhase::Backfill.level() {
        return Ok(());
    }
    let copied = rt
        .store()?
        .read::<_, StoreError, _>(|tx| is_taken(tx, MigrationPhase::Backfill))
        .await?;
    if copied {
        Ok(())
    } else {
        Err(ApiError::internal(format!(
            "the schema is below level {wanted}"
        )))
    }
}
