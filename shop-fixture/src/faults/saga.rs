//! Owns the faults of sagas, their journal and their keys. What they spoil stands in `saga` and `idempotency`.

use std::sync::Arc;

use super::kind::{Form, KindInfo, any, kind, required};
use crate::catalog::{CHECKOUT, ORDERS};
use crate::runtime::Rt;
use crate::store::StoreError;

/// The services that run sagas.
const ORCHESTRATORS: &[&str] = &[ORDERS, CHECKOUT];

pub(super) const KINDS: &[KindInfo] = &[
    kind(
        "crash_at",
        "The orchestrator dies at a known place of its journal.",
    )
    .takes(&[
        required(
            "point",
            Form::OneOf(&[
                "before_step",
                "after_intent",
                "after_reply",
                "during_compensation",
                "before_finish",
            ]),
        ),
        any("step", Form::Text),
    ])
    .only_on(ORCHESTRATORS),
    kind("compensation_fail", "Undoing a step fails again and again.")
        .takes(&[any("step", Form::Text)])
        .only_on(ORCHESTRATORS),
    kind(
        "compensation_skip",
        "Undoing a step is noted as done although nobody was called.",
    )
    .takes(&[any("step", Form::Text)])
    .only_on(ORCHESTRATORS),
    kind(
        "retry_forever",
        "A failing step is sent again without end, and nothing is undone.",
    )
    .takes(&[any("step", Form::Text)])
    .only_on(ORCHESTRATORS),
    kind(
        "idempotency_off",
        "Keys are not looked at: a repeated request has a second effect.",
    ),
    kind(
        "journal_loss",
        "Saga rows vanish: orders remain that no journal knows.",
    )
    .takes(&[any("last_n", Form::Number)])
    .only_on(ORCHESTRATORS)
    .begins(|rt, params| {
        tokio::spawn(lose_journal(Arc::clone(rt), params["last_n"].as_i64()));
    }),
];

async fn lose_journal(rt: Rt, last_n: Option<i64>) {
    let Ok(store) = rt.store() else { return };
    // An orchestrator that has run no saga yet has no journal to lose, and the fault then does nothing.
    let _ = store
        .write::<_, StoreError, _>(move |tx| {
            let limit = last_n.unwrap_or(i64::MAX);
            let ids = tx.all(
                "SELECT sagas",
                "SELECT saga_id FROM sagas ORDER BY created_at DESC LIMIT ?1",
                [limit],
                |row| row.get::<_, String>(0),
            )?;
            for id in &ids {
                tx.execute("DELETE sagas", "DELETE FROM sagas WHERE saga_id = ?1", [id])?;
                tx.execute(
                    "DELETE saga_steps",
                    "DELETE FROM saga_steps WHERE saga_id = ?1",
                    [id],
                )?;
                tx.execute(
                    "DELETE saga_log",
                    "DELETE FROM saga_log WHERE saga_id = ?1",
                    [id],
                )?;
            }
            Ok(())
        })
        .await;
}
