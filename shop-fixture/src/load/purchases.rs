//! Owns purchases that are more than one plain checkout: baskets of several goods, carts of what is sold out, and
//! customers who press twice.

use std::time::Duration;

use http::Method;
use serde_json::json;

use super::client::{Ask, Client};
use super::journeys::Mix;
use crate::rng::Rng;

/// Goods that baskets are filled with; few of them, so that orders meet.
const SHELF: usize = 6;
/// How long somebody waits before pressing again.
const AGAIN: Duration = Duration::from_secs(2);
/// One in so many carts holds what is sold out.
const UNLUCKY: usize = 3;

pub(super) async fn make(client: &Client, mix: Mix, user: &str, rng: &mut Rng) {
    let path = "/api/v1/checkout";
    let ask = |cart: &str| Ask {
        method: Method::POST,
        template: path,
        path,
        user,
        body: Some(json!({ "cart_id": cart, "payment_method_id": "card-456" })),
    };
    match mix {
        Mix::Baskets => {
            client.send(basket(user, rng)).await;
        }
        Mix::Unlucky => {
            let cart = if rng.below(UNLUCKY) == 0 {
                "cart-soldout"
            } else {
                "cart-123"
            };
            client.send(ask(cart)).await;
        }
        Mix::Repeats => {
            let key = crate::ids::ulid("load_");
            client.send_keyed(ask("cart-123"), &key, 0).await;
            tokio::time::sleep(AGAIN).await;
            client.send_keyed(ask("cart-123"), &key, 1).await;
        }
        _ => {
            let key = crate::ids::ulid("load_");
            tokio::join!(
                client.send_keyed(ask("cart-123"), &key, 0),
                client.send_keyed(ask("cart-123"), &key, 1),
            );
        }
    }
}

/// Three goods, two or three of each.
fn basket<'a>(user: &'a str, rng: &mut Rng) -> Ask<'a> {
    let first = rng.below(SHELF);
    let items: Vec<_> = (0..3)
        .map(|step| {
            let number = 1 + (first + step) % SHELF;
            json!({ "product_id": format!("prd-{number:03}"), "quantity": 2 + rng.below(2) })
        })
        .collect();
    let path = "/api/v1/orders";
    Ask {
        method: Method::POST,
        template: path,
        path,
        user,
        body: Some(json!({ "items": items, "payment_method_id": "card-456" })),
    }
}
