//! Owns what a customer does: the journeys, their shares, and their steps with the pauses between them.

use std::time::Duration;

use http::Method;
use serde_json::json;

use super::client::{Ask, Client};
use crate::error::ShopError;
use crate::rng::Rng;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Journey {
    Browse,
    Checkout,
    Track,
    Admin,
}

/// Which journeys are made, with their shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mix {
    /// Checkouts alone, one request each.
    #[default]
    Checkout,
    /// Every journey that the running services can serve, by the shares of the specification.
    Shoppers,
    /// The same with product and price changes among them.
    Admin,
    /// Orders of three goods each, several pieces of them.
    Baskets,
    /// Checkouts, one in three of what is sold out.
    Unlucky,
    /// Checkouts under a key, each sent again after two seconds.
    Repeats,
    /// Checkouts under a key, each sent twice at once.
    Twins,
}

impl Mix {
    pub const TEXTS: &'static [&'static str] = &[
        "checkout", "shoppers", "admin", "baskets", "unlucky", "repeats", "twins",
    ];

    /// Whether its journeys are single requests, which need no span around them.
    pub(super) fn is_single(self) -> bool {
        !matches!(self, Self::Shoppers | Self::Admin)
    }

    fn shares(self) -> &'static [(Journey, f64)] {
        match self {
            Self::Checkout | Self::Baskets | Self::Unlucky | Self::Repeats | Self::Twins => {
                &[(Journey::Checkout, 1.0)]
            }
            Self::Shoppers => &[
                (Journey::Browse, 35.0),
                (Journey::Checkout, 13.0),
                (Journey::Track, 7.0),
            ],
            Self::Admin => &[
                (Journey::Browse, 35.0),
                (Journey::Checkout, 13.0),
                (Journey::Track, 7.0),
                (Journey::Admin, 3.0),
            ],
        }
    }

    pub(super) fn draw(self, rng: &mut Rng) -> Journey {
        let shares = self.shares();
        let total: f64 = shares.iter().map(|(_, share)| share).sum();
        let mut left = rng.between(0.0, total);
        for (journey, share) in shares {
            if left < *share {
                return *journey;
            }
            left -= share;
        }
        shares[0].0
    }

    /// Steps that a journey of this mix has on average; it turns a rate of steps into one of journeys.
    pub(super) fn mean_steps(self) -> f64 {
        let shares = self.shares();
        let total: f64 = shares.iter().map(|(_, share)| share).sum();
        shares
            .iter()
            .map(|(journey, share)| share * self.steps(*journey))
            .sum::<f64>()
            / total
    }

    fn steps(self, journey: Journey) -> f64 {
        match (self, journey) {
            _ if self.is_single() => 1.0,
            (_, Journey::Browse | Journey::Track) => 3.0,
            (_, Journey::Checkout | Journey::Admin) => 2.0,
        }
    }
}

impl std::str::FromStr for Mix {
    type Err = ShopError;

    fn from_str(text: &str) -> Result<Self, ShopError> {
        match text {
            "checkout" => Ok(Self::Checkout),
            "shoppers" => Ok(Self::Shoppers),
            "admin" => Ok(Self::Admin),
            "baskets" => Ok(Self::Baskets),
            "unlucky" => Ok(Self::Unlucky),
            "repeats" => Ok(Self::Repeats),
            "twins" => Ok(Self::Twins),
            _ => Err(ShopError::Option {
                option: "mix",
                value: text.to_owned(),
                allowed: Self::TEXTS.join(", "),
            }),
        }
    }
}

/// One customer's visit.
pub(super) async fn make(client: &Client, mix: Mix, journey: Journey, mut rng: Rng) {
    let user = format!("user-{:03}", rng.below(100));
    if mix.is_single() && mix != Mix::Checkout {
        return super::purchases::make(client, mix, &user, &mut rng).await;
    }
    match journey {
        Journey::Browse => browse(client, &user, &mut rng).await,
        Journey::Checkout => checkout(client, &user, mix != Mix::Checkout, &mut rng).await,
        Journey::Track => track(client, &user, &mut rng).await,
        Journey::Admin => admin(client, &user, &mut rng).await,
    }
}

async fn think(rng: &mut Rng) {
    tokio::time::sleep(Duration::from_secs_f64(rng.between(0.1, 0.5))).await;
}

fn get<'a>(template: &'static str, path: &'a str, user: &'a str) -> Ask<'a> {
    Ask {
        method: Method::GET,
        template,
        path,
        user,
        body: None,
    }
}

async fn browse(client: &Client, user: &str, rng: &mut Rng) {
    let list = client
        .send(get("/api/v1/products", "/api/v1/products", user))
        .await;
    let listed = list.body["body"]["products"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    for _ in 0..2 {
        let Some(product) = listed.get(rng.below(listed.len())) else {
            return;
        };
        let path = format!(
            "/api/v1/products/{}",
            product["product_id"].as_str().unwrap_or_default()
        );
        think(rng).await;
        client.send(get("/api/v1/products/{id}", &path, user)).await;
    }
}

async fn checkout(client: &Client, user: &str, follow: bool, rng: &mut Rng) {
    const POLLS: usize = 10;
    let body = json!({ "cart_id": "cart-123", "payment_method_id": "card-456" });
    let path = "/api/v1/checkout";
    let placed = client
        .send(Ask {
            method: Method::POST,
            template: path,
            path,
            user,
            body: Some(body),
        })
        .await;
    let Some(order_id) = placed.body["body"]["order_id"].as_str().filter(|_| follow) else {
        return;
    };
    let path = format!("/api/v1/orders/{order_id}/status");
    for _ in 0..POLLS {
        think(rng).await;
        let status = client
            .send(get("/api/v1/orders/{id}/status", &path, user))
            .await;
        let settled = ["SHIPPED", "DELIVERED", "FAILED", "CANCELLED"];
        if settled
            .iter()
            .any(|known| status.body["body"]["status"] == *known)
        {
            return;
        }
    }
}

async fn track(client: &Client, user: &str, rng: &mut Rng) {
    let list = client
        .send(get("/api/v1/orders", "/api/v1/orders", user))
        .await;
    let orders = list.body["body"]["orders"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let Some(id) = orders
        .get(rng.below(orders.len()))
        .and_then(|order| order["order_id"].as_str())
    else {
        return;
    };
    think(rng).await;
    let path = format!("/api/v1/orders/{id}");
    client.send(get("/api/v1/orders/{id}", &path, user)).await;
    think(rng).await;
    let path = format!("/api/v1/orders/{id}/status");
    client
        .send(get("/api/v1/orders/{id}/status", &path, user))
        .await;
}

async fn admin(client: &Client, user: &str, rng: &mut Rng) {
    let id = format!("prd-{:03}", 1 + rng.below(97));
    let path = format!("/api/v1/products/{id}");
    client.send(get("/api/v1/products/{id}", &path, user)).await;
    think(rng).await;
    let path = format!("/api/v1/products/{id}/price");
    let body = json!({ "price_cents": 990 + rng.below(90_000) as i64 });
    client
        .send(Ask {
            method: Method::PUT,
            template: "/api/v1/products/{id}/price",
            path: &path,
            user,
            body: Some(body),
        })
        .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn journeys_are_drawn_by_their_shares() {
        let mut rng = Rng::new(5);
        let drawn = (0..5_500)
            .filter(|_| Mix::Shoppers.draw(&mut rng) == Journey::Checkout)
            .count();
        assert!((1_150..1_450).contains(&drawn), "{drawn} of about 1300");
        assert_eq!(Mix::Checkout.mean_steps(), 1.0);
        assert!((2.0..3.0).contains(&Mix::Shoppers.mean_steps()));
    }
}
