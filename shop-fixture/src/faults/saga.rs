//! Owns the faults of sagas, their journal and their keys. What they spoil stands in `saga` and `idempotency`.

use std::sync::Arc;

use super::kind::{Form, KindInfo, any, kind, required};
use crate::catalog::{CHECKOUT, INVENTORY, NOTIFICATION, ORDERS, PAYMENT, SHIPPING, USERS};
use crate::runtime::Rt;
use crate::store::StoreError;

/// The services that run sagas.
const ORCHESTRATORS: &[&str] = &[ORDERS, CHECKOUT];

/// Those, and whom they call: a callee can die at the same places, as far as it sees them.
const PARTIES: &[&str] = &[
    ORDERS,
    CHECKOUT,
    PAYMENT,
    INVENTORY,
    SHIPPING,
    USERS,
    NOTIFICATION,
];

pub(super) const KINDS: &[KindInfo] = &[
    kind(
        "crash_at",
        "The orchestrator, or a service that it calls, dies at a known place of a saga.",
    )
    .takes(&[
        required(
            "point",
            Form::OneOf(&[
                "before_step",
                "after_intent",
                "after_send",
                "after_reply",
                "during_compensation",
                "before_finish",
            ]),
        ),
        any("step", Form::Text),
    ])
    .only_on(PARTIES),
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
        "journal_no_flush",
        "Saga records stay in memory: what was not written is lost when the process is killed.",
    )
    .only_on(ORCHESTRATORS),
    kind(
        "journal_corrupt_tail",
        "Saga rows are written torn: whoever takes one over cannot read it.",
    )
    .only_on(ORCHESTRATORS),
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

/// What a callee has done of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Done {
    /// It has just arrived.
    Nothing,
    /// Its key is noted, and nothing else.
    Noted,
    /// Everything but the answer.
    All,
}

/// Ends this process if a `crash_at` fault strikes it as the callee of a step: as SIGKILL would, with nothing flushed.
pub(crate) fn die_as_callee(rt: &Rt, method: &str, done: Done) {
    let Some(params) = rt.faults.find("crash_at") else {
        return;
    };
    let Some((steps, undoes)) = steps_of(method) else {
        return;
    };
    let here = match (params["point"].as_str(), done) {
        (Some("during_compensation"), Done::All) => undoes,
        (Some("before_step"), Done::Nothing)
        | (Some("after_intent"), Done::Noted)
        | (Some("after_send" | "after_reply"), Done::All) => !undoes,
        _ => false,
    };
    let meant = params["step"].as_str();
    if here && meant.is_none_or(|step| steps.contains(&step)) {
        std::process::abort();
    }
}

/// The steps that a method serves, and whether it undoes them.
fn steps_of(method: &str) -> Option<(&'static [&'static str], bool)> {
    let name = method.rsplit('/').next().unwrap_or(method);
    Some(match (method, name) {
        ("POST /shipments", _) => (&["ship", "create_shipment"], false),
        ("POST /shipments/{id}/cancel", _) => (&["ship", "create_shipment"], true),
        ("POST /notifications", _) => (&["send_confirmation"], false),
        (_, "ProcessPayment") => (&["process_payment"], false),
        (_, "RefundPayment") => (&["process_payment"], true),
        (_, "AuthorizePayment") => (&["authorize_payment"], false),
        (_, "VoidPayment") => (&["authorize_payment"], true),
        (_, "ReserveStock") => (&["reserve_inventory"], false),
        (_, "ReleaseReservation") => (&["reserve_inventory"], true),
        (_, "ValidateUser") => (&["validate_user"], false),
        (_, "InsertOrder") => (&["create_order"], false),
        (_, "UpdateOrderStatus") => (&["create_order"], true),
        _ => return None,
    })
}
