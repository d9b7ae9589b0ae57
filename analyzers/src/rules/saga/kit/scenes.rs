//! What stands around a saga in tests: stock, sagas that went well, a second process of the orchestrator.

use serde_json::json;

use super::{NEW, OLD, tale};
use crate::testing::{Scene, event, ledger, span};

/// A row of stock, and a row of another ledger some time later: all of them were read since.
pub(in crate::rules::saga) fn stock(
    scene: Scene,
    when: f64,
    product: &str,
    reserved: i64,
    version: i64,
) -> Scene {
    let row = json!({
        "product_id": product, "stock_quantity": 1000, "reserved_quantity": reserved, "initial_quantity": 1000,
        "adjustments": 0, "version": version,
    });
    scene
        .ledger(ledger(when, "stock", product, None, row))
        .ledger(ledger(when + 5.0, "inbox", "evt", None, json!({})))
}

/// An early and a late saga that went well, so that journal and ledgers are known to have been read to the end; and the
/// first process of the orchestrator.
pub(in crate::rules::saga) fn scene() -> Scene {
    let scene = Scene::new().event(event(
        1.0,
        "registered",
        "order-management",
        OLD,
        "127.0.0.1:9180",
    ));
    let scene = tale(901, 10.0).well().in_scene(scene);
    tale(902, 600.0).well().in_scene(scene)
}

/// The orchestrator's second process, with a scan that found so many, if any was made.
pub(in crate::rules::saga) fn restarted(scene: Scene, when: f64, found: Option<i64>) -> Scene {
    let scene = scene.event(event(
        when,
        "registered",
        "order-management",
        NEW,
        "127.0.0.1:9180",
    ));
    match found {
        None => scene,
        Some(found) => scene.span(
            span("order-management", NEW, "saga recovery scan", when + 1.0)
                .ids(777_777, 777_777, 0)
                .int("shop.saga.scan.found", found),
        ),
    }
}
