//! Owns fraud-detection: a score for each order, from what events and payment tell of it, and the flag for a person to
//! look at those that score high.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tonic::{Request, Response, Status};

use super::Served;
use crate::error::{ApiError, ShopError};
use crate::messaging::publisher::Cause;
use crate::messaging::{Envelope, Event, Publisher, Staged, consumer, outbox};
use crate::proto::fraud as proto;
use crate::proto::fraud::fraud_service_server::{FraudService, FraudServiceServer};
use crate::runtime::Rt;
use crate::server::admin;
use crate::store::kv::{self, Kv};
use crate::store::{Store, StoreError, Tx};

const SCHEMA: &str = "
CREATE TABLE scores (
    order_id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL,
    score INTEGER NOT NULL,
    verdict TEXT NOT NULL,
    reasons TEXT NOT NULL,
    paid_cents INTEGER,
    scored_at TEXT NOT NULL
);
CREATE VIEW ledger_scores AS SELECT *, scored_at AS changed_at FROM scores;
";
/// Orders of one user in the present minute of the shop's time.
const VELOCITY: Kv = Kv {
    collection: "velocity",
    ttl: WINDOW,
};
const WINDOW: Duration = Duration::from_secs(60);
const REVIEW: i64 = 80;

pub fn start(rt: &Rt) -> Result<Served, ShopError> {
    let migrations = [SCHEMA, kv::SCHEMA, outbox::SCHEMA, consumer::SCHEMA];
    rt.set_store(Store::open(
        &rt.config.db_path(rt.spec.name),
        &migrations,
        Arc::clone(&rt.clock),
        rt.telemetry.clone(),
    )?);
    let publisher = Publisher::new(rt);
    let effect = effect(rt, &publisher);
    let http = consumer::router(rt, Some(Arc::clone(&publisher)), effect).merge(admin::health(rt));
    let background = vec![
        super::background(outbox::relay(Arc::clone(&publisher))),
        super::background(kv::purge(Arc::clone(rt))),
    ];
    let service = FraudServiceServer::new(Fraud {
        rt: Arc::clone(rt),
        publisher,
    });
    Ok(Served {
        grpc: Some(super::with_health(rt, service)),
        http: Some(http),
        background,
    })
}

fn effect(rt: &Rt, publisher: &Arc<Publisher>) -> consumer::Effect {
    let (rt, publisher) = (Arc::clone(rt), Arc::clone(publisher));
    Arc::new(move |tx, event: &Envelope| {
        let order_id = event.order_id().unwrap_or_default().to_owned();
        if event.event_type == "PaymentProcessed" {
            tx.execute(
                "UPDATE scores",
                "UPDATE scores SET paid_cents = ?2 WHERE order_id = ?1",
                (&order_id, event.data["amount_cents"].as_i64()),
            )?;
            return Ok(Vec::new());
        }
        let lines = event.data["items"].as_array();
        let ask = proto::ScoreRequest {
            order_id,
            user_id: event.data["user_id"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            total_cents: event.data["total_cents"].as_i64().unwrap_or(0),
            quantity: lines
                .into_iter()
                .flatten()
                .filter_map(|line| line["quantity"].as_i64())
                .sum(),
            payment_method_id: String::new(),
        };
        if kv::reachable(&rt).is_err() {
            return Err(StoreError::Conflict(
                "the key-value store does not answer".to_owned(),
            ));
        }
        let (_, staged) = score(&rt, tx, &ask, &publisher)?;
        Ok(staged)
    })
}

/// The score of an order, kept with its reasons. An order is flagged once, when it first scores high.
fn score(
    rt: &Rt,
    tx: &Tx<'_>,
    ask: &proto::ScoreRequest,
    publisher: &Publisher,
) -> Result<(proto::Score, Vec<Staged>), StoreError> {
    let known = tx.one(
        "SELECT scores",
        "SELECT score, reasons FROM scores WHERE order_id = ?1",
        [&ask.order_id],
        |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)),
    )?;
    let recent = match known {
        Some(_) => 0,
        None => {
            let window = rt.clock.scaled(WINDOW).as_nanos().max(1) as u64;
            let key = format!("{}:{}", ask.user_id, tx.now() / window);
            VELOCITY.count_in(rt, tx, &key)?
        }
    };
    let (fresh, reasons) = rate(ask, recent);
    let before = known.as_ref().map_or(0, |(score, _)| *score);
    // What was suspicious before stays so.
    let (score, reasons) = match known {
        Some((score, kept)) if score >= fresh => {
            (score, serde_json::from_str(&kept).unwrap_or_default())
        }
        _ => (fresh, reasons),
    };
    let verdict = if score >= REVIEW { "REVIEW" } else { "PASS" };
    tx.execute(
        "INSERT scores",
        "INSERT INTO scores (order_id, user_id, score, verdict, reasons, scored_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (order_id) DO UPDATE SET score = excluded.score, verdict = excluded.verdict,
             reasons = excluded.reasons, scored_at = excluded.scored_at",
        (
            &ask.order_id,
            &ask.user_id,
            score,
            verdict,
            json!(reasons).to_string(),
            tx.now_text(),
        ),
    )?;
    let mut staged = Vec::new();
    if score >= REVIEW && before < REVIEW {
        let event = Event {
            event_type: "FraudFlagged",
            aggregate_type: "order",
            aggregate_id: ask.order_id.clone(),
            order_id: Some(ask.order_id.clone()),
            saga_id: None,
            data: json!({ "order_id": ask.order_id, "score": score, "reasons": reasons }),
        };
        staged.push(publisher.stage(tx, event, &Cause::here())?);
    }
    let score = proto::Score {
        order_id: ask.order_id.clone(),
        score,
        verdict: verdict.to_owned(),
        reasons,
    };
    Ok((score, staged))
}

/// Points and their reasons; `recent` counts the user's orders of the present minute.
fn rate(ask: &proto::ScoreRequest, recent: i64) -> (i64, Vec<String>) {
    let signs = [
        (
            ask.payment_method_id == "card-fraud",
            90,
            "the card was reported as stolen",
        ),
        (ask.total_cents >= 2_000_000, 60, "the amount is very high"),
        (
            (500_000..2_000_000).contains(&ask.total_cents),
            30,
            "the amount is high",
        ),
        (ask.quantity >= 10, 25, "many pieces at once"),
        // A busy customer alone is no suspect: together with a high amount, one is.
        (recent > 30, 20, "many orders in a minute"),
    ];
    let mut points = 0;
    let mut reasons = Vec::new();
    for (holds, weight, reason) in signs {
        if holds {
            points += weight;
            reasons.push(reason.to_owned());
        }
    }
    (points.min(100), reasons)
}

struct Fraud {
    rt: Rt,
    publisher: Arc<Publisher>,
}

impl Fraud {
    async fn score(&self, ask: proto::ScoreRequest) -> Result<proto::Score, ApiError> {
        if ask.order_id.is_empty() || ask.total_cents < 0 || ask.quantity < 0 {
            return Err(ApiError::invalid(
                "a score needs an order, and amounts that are not negative",
            ));
        }
        kv::reachable(&self.rt)?;
        let (rt, publisher) = (Arc::clone(&self.rt), Arc::clone(&self.publisher));
        let (score, staged) = self
            .rt
            .store()?
            .write::<_, StoreError, _>(move |tx| score(&rt, tx, &ask, &publisher))
            .await?;
        self.publisher.publish_and_wait(staged).await?;
        Ok(score)
    }
}

#[tonic::async_trait]
impl FraudService for Fraud {
    async fn score_order(
        &self,
        request: Request<proto::ScoreRequest>,
    ) -> Result<Response<proto::Score>, Status> {
        self.score(request.into_inner())
            .await
            .map(Response::new)
            .map_err(|error| error.to_status())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(total_cents: i64, quantity: i64, method: &str) -> proto::ScoreRequest {
        proto::ScoreRequest {
            total_cents,
            quantity,
            payment_method_id: method.to_owned(),
            ..proto::ScoreRequest::default()
        }
    }

    #[test]
    fn only_several_signs_or_a_stolen_card_make_a_review() {
        assert_eq!(rate(&order(129_900, 1, ""), 1), (0, Vec::new()));
        assert!(rate(&order(129_900, 1, ""), 1_000).0 < REVIEW);
        assert!(rate(&order(2_598_000, 20, ""), 1).0 >= REVIEW);
        assert!(rate(&order(100, 1, "card-fraud"), 1).0 >= REVIEW);
        assert_eq!(rate(&order(9_000_000, 99, "card-fraud"), 99).0, 100);
    }
}
