//! Owns the ride journey: the five events of one ride, in order, as a service that publishes them would send them.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::client::{Ask, Client};
use crate::ids::ulid;
use crate::rng::Rng;

const TEMPLATE: &str = "/api/v1/rides/events/{type}";

pub(super) async fn make(client: &Client, passenger: &str, rng: &mut Rng) {
    let (ride, driver) = (ulid("ride_"), format!("driver-{:03}", rng.below(200)));
    let place =
        |rng: &mut Rng| json!({ "lat": rng.between(47.0, 48.0), "lon": rng.between(8.0, 9.0) });
    let (start, end) = (place(rng), place(rng));
    let events: [(&str, Value); 5] = [
        (
            "RideRequested",
            json!({ "ride_id": ride, "passenger_id": passenger }),
        ),
        (
            "DriverAssigned",
            json!({ "ride_id": ride, "driver_id": driver }),
        ),
        (
            "DriverEnroute",
            json!({ "ride_id": ride, "eta": 1 + rng.below(15) }),
        ),
        (
            "RideStarted",
            json!({ "ride_id": ride, "start_location": start }),
        ),
        (
            "RideCompleted",
            json!({ "ride_id": ride, "end_location": end, "fare": 500 + rng.below(5_000) }),
        ),
    ];
    for (position, (event_type, data)) in events.into_iter().enumerate() {
        if position > 0 {
            let pause = Duration::from_secs_f64(rng.between(1.0, 3.0));
            tokio::time::sleep(pause.div_f64(client.time_scale())).await;
        }
        let path = format!("/api/v1/rides/events/{event_type}");
        let body = json!({ "ride_id": ride, "data": data });
        let sent = client
            .send(Ask {
                method: Method::POST,
                template: TEMPLATE,
                path: &path,
                user: passenger,
                body: Some(body),
            })
            .await;
        // A ride with a gap is what the check of rides is for; one that never began is nothing.
        if position == 0 && sent.status != 202 {
            return;
        }
    }
}
