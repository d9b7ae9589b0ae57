//! Owns the shapes that journal, engine and models share.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::call::CallError;
use crate::clock::parse_rfc3339;
use crate::messaging::Staged;
use crate::store::{StoreError, Tx};

pub type Calling<'a> = Pin<Box<dyn Future<Output = Result<Value, CallError>> + Send + 'a>>;

/// One step of a model.
#[derive(Debug)]
pub struct StepDef {
    pub name: &'static str,
    pub service: &'static str,
    /// The called method, for the journal.
    pub forward: &'static str,
    pub timeout: Duration,
    /// The operation word of the forward key, and what it is about.
    pub op: &'static str,
    pub entity: Entity,
    /// Whether the saga turns back when the step fails. What does not matter so much is made up for later.
    pub critical: bool,
    /// The called method that undoes the step, and its operation in the compensation key; `None` where nothing is to undo.
    pub compensation: Option<(&'static str, &'static str)>,
    /// The saga's state once the step is done.
    pub milestone: &'static str,
    /// The saga's state while this step is being undone.
    pub undoing: &'static str,
}

/// What a forward key names behind its operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entity {
    Order,
    User,
    /// User and second of the saga's beginning, both as the journal has them.
    UserAndTime,
    Session,
}

impl Entity {
    fn of(self, saga: &Saga) -> String {
        match self {
            Self::Order => saga.order_id.clone(),
            Self::User => saga.user_id.clone(),
            Self::UserAndTime => {
                let created = parse_rfc3339(&saga.created_at).unwrap_or(0) / 1_000_000_000;
                format!("{}:{created}", saga.user_id)
            }
            Self::Session => saga.data.session_id.clone(),
        }
    }
}

/// A saga as its journal row has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Saga {
    pub saga_id: String,
    pub model: String,
    pub operation_id: Option<String>,
    pub order_id: String,
    pub user_id: String,
    pub status: Status,
    pub current_state: String,
    pub completed_steps: Vec<String>,
    pub data: Data,
    pub compensation_reason: Option<String>,
    pub manual_intervention_required: bool,
    pub version: i64,
    pub traceparent: String,
    pub created_at: String,
    pub updated_at: String,
}

/// What the steps need and what they brought.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Data {
    pub items: Vec<Item>,
    pub total_cents: i64,
    pub currency: String,
    pub payment_method_id: String,
    pub address: Value,
    /// The checkout session, in the model that has one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub session_id: String,
    /// What the request carried, for the events of the saga.
    #[serde(default)]
    pub baggage: String,
    /// What others had put beside the request's trace, for the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracestate: Option<String>,
    /// Result of each completed step, by step name.
    #[serde(default)]
    pub results: std::collections::BTreeMap<String, Value>,
    /// What keys end in when they are no longer those the saga began with.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub key_suffix: String,
    /// The step that failed for good, once one has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Item {
    pub product_id: String,
    pub quantity: i64,
    pub unit_price_cents: i64,
}

/// Why a saga turned back.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    pub step: String,
    pub code: String,
    pub message: String,
    pub http: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Initiated,
    Running,
    Compensating,
    Completed,
    Failed,
}

impl Status {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Initiated => "initiated",
            Self::Running => "running",
            Self::Compensating => "compensating",
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [
            Self::Initiated,
            Self::Running,
            Self::Compensating,
            Self::Completed,
            Self::Failed,
        ]
        .into_iter()
        .find(|status| status.as_str() == text)
    }

    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed)
    }
}

/// A step's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepRow {
    pub ordinal: usize,
    pub status: StepStatus,
    pub retry_count: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepStatus {
    Pending,
    InProgress,
    Completed,
    Failed,
    Compensating,
    Compensated,
    CompensationFailed,
}

impl StepStatus {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Compensating => "compensating",
            Self::Compensated => "compensated",
            Self::CompensationFailed => "compensation_failed",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [
            Self::Pending,
            Self::InProgress,
            Self::Completed,
            Self::Failed,
            Self::Compensating,
            Self::Compensated,
            Self::CompensationFailed,
        ]
        .into_iter()
        .find(|status| status.as_str() == text)
    }
}

/// What a kind of saga does; the engine knows when.
pub trait Model: Send + Sync {
    fn name(&self) -> &'static str;
    fn steps(&self) -> &'static [StepDef];
    /// Makes the step's call.
    fn forward<'a>(&'a self, saga: &'a Saga, step: &'static StepDef, key: &'a str) -> Calling<'a>;
    /// Undoes a completed step.
    fn compensate<'a>(
        &'a self,
        saga: &'a Saga,
        step: &'static StepDef,
        key: &'a str,
    ) -> Calling<'a>;
    /// Changes the business rows in the transaction that records a completed step; answers the events of it.
    fn on_step(
        &self,
        tx: &Tx<'_>,
        saga: &Saga,
        step: &StepDef,
        result: &Value,
    ) -> Result<Vec<Staged>, StoreError>;
    /// The same when a step has been undone.
    fn on_undone(
        &self,
        _tx: &Tx<'_>,
        _saga: &Saga,
        _step: &StepDef,
    ) -> Result<Vec<Staged>, StoreError> {
        Ok(Vec::new())
    }
    /// The same when a step that is not critical has failed: what is to be made up for.
    fn on_skipped(&self, _tx: &Tx<'_>, _saga: &Saga, _step: &StepDef) -> Result<(), StoreError> {
        Ok(())
    }
    /// The same when the last step is done.
    fn on_completed(&self, tx: &Tx<'_>, saga: &Saga) -> Result<Vec<Staged>, StoreError>;
    /// The same when all has been undone, or given up.
    fn on_failed(&self, tx: &Tx<'_>, saga: &Saga) -> Result<Vec<Staged>, StoreError>;
    /// Whether what the saga is about still stands, as its rows now say.
    fn is_still_wanted(&self, _tx: &Tx<'_>, _saga: &Saga) -> Result<bool, StoreError> {
        Ok(true)
    }
    /// Publishes, after the commit, without holding the saga up.
    fn publish(&self, staged: Vec<Staged>);
}

#[must_use]
pub fn forward_key(saga: &Saga, step: &StepDef) -> String {
    let entity = step.entity.of(saga);
    format!(
        "saga:{}:{}:{entity}{}",
        saga.saga_id, step.op, saga.data.key_suffix
    )
}

#[must_use]
pub fn compensation_key(saga: &Saga, step: &StepDef) -> Option<String> {
    let (_, op) = step.compensation?;
    // A refund is named after the order whatever the step was named after.
    let entity = if op == "refund" {
        Entity::Order
    } else {
        step.entity
    };
    Some(format!("saga:{}:{op}:{}", saga.saga_id, entity.of(saga)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_name_operation_and_entity() {
        let saga = Saga {
            saga_id: "sg_1".to_owned(),
            model: String::new(),
            operation_id: None,
            order_id: "ord_1".to_owned(),
            user_id: "user-123".to_owned(),
            status: Status::Initiated,
            current_state: String::new(),
            completed_steps: Vec::new(),
            data: Data {
                session_id: "ses_1".to_owned(),
                ..Data::default()
            },
            compensation_reason: None,
            manual_intervention_required: false,
            version: 1,
            traceparent: String::new(),
            created_at: "1970-01-01T00:01:40.500000000Z".to_owned(),
            updated_at: String::new(),
        };
        let step = |op, entity, undo| StepDef {
            name: "",
            service: "",
            forward: "",
            timeout: Duration::ZERO,
            op,
            entity,
            critical: true,
            compensation: Some(("", undo)),
            milestone: "",
            undoing: "",
        };
        let pay = step("payment", Entity::Session, "refund");
        assert_eq!(forward_key(&saga, &pay), "saga:sg_1:payment:ses_1");
        assert_eq!(
            compensation_key(&saga, &pay).as_deref(),
            Some("saga:sg_1:refund:ord_1")
        );
        let order = step("createorder", Entity::UserAndTime, "compensate:createorder");
        assert_eq!(
            forward_key(&saga, &order),
            "saga:sg_1:createorder:user-123:100"
        );
        assert_eq!(
            compensation_key(&saga, &order).as_deref(),
            Some("saga:sg_1:compensate:createorder:user-123:100")
        );
    }
}
