//! Owns what a customer does: the journeys, their shares, and their steps with the pauses between them.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::client::{Answer, Ask, Client};
use crate::error::ShopError;
use crate::rng::Rng;
use crate::seed;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Journey {
    Browse,
    Search,
    Cart,
    Checkout,
    Track,
    Account,
    Review,
    Admin,
    Ride,
}

const NAMES: &[(&str, Journey)] = &[
    ("browse", Journey::Browse),
    ("search", Journey::Search),
    ("cart", Journey::Cart),
    ("checkout", Journey::Checkout),
    ("track", Journey::Track),
    ("account", Journey::Account),
    ("review", Journey::Review),
    ("admin", Journey::Admin),
    ("ride", Journey::Ride),
];

impl std::str::FromStr for Journey {
    type Err = ShopError;

    fn from_str(text: &str) -> Result<Self, ShopError> {
        let found = NAMES.iter().find(|(name, _)| *name == text);
        found
            .map(|(_, journey)| *journey)
            .ok_or_else(|| ShopError::Option {
                option: "journey",
                value: text.to_owned(),
                allowed: NAMES
                    .iter()
                    .map(|(name, _)| *name)
                    .collect::<Vec<_>>()
                    .join(", "),
            })
    }
}

impl Journey {
    /// Requests that it makes on average.
    fn steps(self) -> f64 {
        match self {
            Self::Browse => 4.0,
            Self::Cart => 3.3,
            Self::Search | Self::Checkout | Self::Track => 3.0,
            Self::Admin => 2.0,
            Self::Account => 1.1,
            Self::Review => 1.0,
            Self::Ride => 5.0,
        }
    }
}

/// Which journeys are made, with their shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mix {
    /// Checkouts alone, one request each.
    #[default]
    Checkout,
    /// What customers do, by the shares of the specification.
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
    /// One kind of journey alone.
    Only(Journey),
}

const SHOPPERS: &[(Journey, f64)] = &[
    (Journey::Browse, 35.0),
    (Journey::Search, 20.0),
    (Journey::Cart, 15.0),
    (Journey::Checkout, 13.0),
    (Journey::Track, 7.0),
    (Journey::Account, 7.0),
    (Journey::Review, 3.0),
];
const ADMIN_SHARE: f64 = 3.0;

impl Mix {
    pub const TEXTS: &'static [&'static str] = &[
        "checkout", "shoppers", "admin", "baskets", "unlucky", "repeats", "twins",
    ];

    /// Whether its journeys are single requests, which need no span around them.
    pub(super) fn is_single(self) -> bool {
        !matches!(self, Self::Shoppers | Self::Admin | Self::Only(_))
    }

    fn shares(self) -> Vec<(Journey, f64)> {
        match self {
            Self::Checkout | Self::Baskets | Self::Unlucky | Self::Repeats | Self::Twins => {
                vec![(Journey::Checkout, 1.0)]
            }
            Self::Only(journey) => vec![(journey, 1.0)],
            Self::Shoppers => SHOPPERS.to_vec(),
            Self::Admin => {
                let mut shares = SHOPPERS.to_vec();
                shares.push((Journey::Admin, ADMIN_SHARE));
                shares
            }
        }
    }

    pub(super) fn draw(self, rng: &mut Rng) -> Journey {
        let shares = self.shares();
        let total: f64 = shares.iter().map(|(_, share)| share).sum();
        let mut left = rng.between(0.0, total);
        for (journey, share) in &shares {
            if left < *share {
                return *journey;
            }
            left -= *share;
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
        if self.is_single() {
            1.0
        } else {
            journey.steps()
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
    let user = seed::generated_user(1 + rng.below(seed::GENERATED_USERS));
    if mix.is_single() && mix != Mix::Checkout {
        return super::purchases::make(client, mix, &user, &mut rng).await;
    }
    let visitor = Visitor {
        client,
        user: &user,
    };
    match journey {
        Journey::Browse => visitor.browse(&mut rng).await,
        Journey::Search => visitor.search(&mut rng).await,
        Journey::Cart => visitor.cart(&mut rng).await,
        Journey::Checkout if mix == Mix::Checkout => {
            visitor.check_out("cart-123").await;
        }
        Journey::Checkout => visitor.buy(&mut rng).await,
        Journey::Track => visitor.track(&mut rng).await,
        Journey::Account => visitor.account(&mut rng).await,
        Journey::Review => visitor.review(&mut rng).await,
        Journey::Admin => visitor.admin(&mut rng).await,
        Journey::Ride => super::ride::make(client, &user, &mut rng).await,
    }
}

async fn think(rng: &mut Rng) {
    tokio::time::sleep(Duration::from_secs_f64(rng.between(0.1, 0.5))).await;
}

fn any_product(rng: &mut Rng) -> String {
    format!("prd-{:03}", 1 + rng.below(97))
}

struct Visitor<'a> {
    client: &'a Client,
    user: &'a str,
}

impl Visitor<'_> {
    async fn get(&self, template: &'static str, path: &str) -> Answer {
        self.send(Method::GET, template, path, None).await
    }

    async fn send(
        &self,
        method: Method,
        template: &'static str,
        path: &str,
        body: Option<Value>,
    ) -> Answer {
        let ask = Ask {
            method,
            template,
            path,
            user: self.user,
            body,
        };
        self.client.send(ask).await
    }

    async fn browse(&self, rng: &mut Rng) {
        let list = self.get("/api/v1/products", "/api/v1/products").await;
        let listed = rows(&list, "products");
        let mut last = String::new();
        for _ in 0..2 {
            let Some(id) = listed.get(rng.below(listed.len())).and_then(id_of) else {
                return;
            };
            think(rng).await;
            self.get("/api/v1/products/{id}", &format!("/api/v1/products/{id}"))
                .await;
            last = id;
        }
        think(rng).await;
        self.get(
            "/api/v1/reviews",
            &format!("/api/v1/reviews?product_id={last}"),
        )
        .await;
    }

    async fn search(&self, rng: &mut Rng) {
        const WORDS: [&str; 6] = ["laptop", "phone", "camera", "audio", "aster", "wearable"];
        let word = WORDS[rng.below(WORDS.len())];
        let template = "/api/v1/search";
        self.get(template, &format!("{template}?q={word}")).await;
        think(rng).await;
        let most = 10_000 + 10_000 * rng.below(9);
        let path = format!("{template}?q={word}&price_max={most}");
        let filtered = self.get(template, &path).await;
        let found = rows(&filtered, "results");
        let Some(id) = found.get(rng.below(found.len())).and_then(id_of) else {
            return;
        };
        think(rng).await;
        self.get("/api/v1/products/{id}", &format!("/api/v1/products/{id}"))
            .await;
    }

    /// Answers the cart's id.
    async fn add(&self, product: &str) -> Option<String> {
        let path = "/api/v1/cart/add";
        let body = json!({ "product_id": product, "quantity": 1 });
        let cart = self.send(Method::POST, path, path, Some(body)).await;
        cart.body["body"]["cart_id"].as_str().map(str::to_owned)
    }

    async fn cart(&self, rng: &mut Rng) {
        let mut product = String::new();
        for _ in 0..1 + rng.below(3) {
            product = any_product(rng);
            self.add(&product).await;
            think(rng).await;
        }
        self.get("/api/v1/cart", "/api/v1/cart").await;
        if rng.chance(0.3) {
            think(rng).await;
            let template = "/api/v1/cart/items/{product_id}";
            let path = format!("/api/v1/cart/items/{product}");
            self.send(Method::DELETE, template, &path, None).await;
        }
    }

    async fn buy(&self, rng: &mut Rng) {
        let Some(cart) = self.add(&any_product(rng)).await else {
            return;
        };
        think(rng).await;
        if let Some(order_id) = self.check_out(&cart).await {
            self.follow(&order_id, rng).await;
        }
    }

    async fn check_out(&self, cart: &str) -> Option<String> {
        let path = "/api/v1/checkout";
        let body = json!({ "cart_id": cart, "payment_method_id": "card-456" });
        let placed = self.send(Method::POST, path, path, Some(body)).await;
        placed.body["body"]["order_id"].as_str().map(str::to_owned)
    }

    /// Looks until the order has come to an end, ten times at most.
    async fn follow(&self, order_id: &str, rng: &mut Rng) {
        const POLLS: usize = 10;
        const SETTLED: [&str; 4] = ["SHIPPED", "DELIVERED", "FAILED", "CANCELLED"];
        let path = format!("/api/v1/orders/{order_id}/status");
        for _ in 0..POLLS {
            think(rng).await;
            let status = self.get("/api/v1/orders/{id}/status", &path).await;
            if SETTLED
                .iter()
                .any(|known| status.body["body"]["status"] == *known)
            {
                return;
            }
        }
    }

    async fn track(&self, rng: &mut Rng) {
        let list = self.get("/api/v1/orders", "/api/v1/orders").await;
        let orders = rows(&list, "orders");
        let Some(id) = orders
            .get(rng.below(orders.len()))
            .and_then(|order| order["order_id"].as_str())
        else {
            return;
        };
        think(rng).await;
        self.get("/api/v1/orders/{id}", &format!("/api/v1/orders/{id}"))
            .await;
        think(rng).await;
        let path = format!("/api/v1/orders/{id}/status");
        self.get("/api/v1/orders/{id}/status", &path).await;
    }

    async fn account(&self, rng: &mut Rng) {
        let path = "/api/v1/account/profile";
        self.get(path, path).await;
        if rng.chance(0.1) {
            think(rng).await;
            let body = json!({
                "street": format!("{} New Street", 1 + rng.below(200)), "city": "Springfield", "state": "IL",
                "zip_code": "62701", "country": "US",
            });
            let template = "/api/v1/account/addresses/{id}";
            let path = "/api/v1/account/addresses/addr-1";
            self.send(Method::PUT, template, path, Some(body)).await;
        }
    }

    async fn review(&self, rng: &mut Rng) {
        let path = "/api/v1/reviews";
        let body = json!({ "product_id": any_product(rng), "rating": 1 + rng.below(5), "comment": "as expected" });
        let ask = Ask {
            method: Method::POST,
            template: path,
            path,
            user: self.user,
            body: Some(body),
        };
        let key = crate::ids::ulid("load_");
        self.client.send_keyed(ask, &key, 0).await;
    }

    async fn admin(&self, rng: &mut Rng) {
        let id = any_product(rng);
        let body = json!({ "description": format!("described anew, {}", rng.below(1_000)) });
        let template = "/api/v1/products/{id}";
        self.send(
            Method::PUT,
            template,
            &format!("/api/v1/products/{id}"),
            Some(body),
        )
        .await;
        think(rng).await;
        let body = json!({ "price_cents": 990 + rng.below(90_000) as i64 });
        let template = "/api/v1/products/{id}/price";
        self.send(
            Method::PUT,
            template,
            &format!("/api/v1/products/{id}/price"),
            Some(body),
        )
        .await;
    }
}

fn rows(answer: &Answer, name: &str) -> Vec<Value> {
    answer.body["body"][name]
        .as_array()
        .cloned()
        .unwrap_or_default()
}

fn id_of(row: &Value) -> Option<String> {
    row["product_id"].as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn journeys_are_drawn_by_their_shares() {
        let mut rng = Rng::new(5);
        let drawn = (0..10_000)
            .filter(|_| Mix::Shoppers.draw(&mut rng) == Journey::Checkout)
            .count();
        assert!((1_150..1_450).contains(&drawn), "{drawn} of about 1300");
        assert_eq!(Mix::Checkout.mean_steps(), 1.0);
        assert!((2.5..3.5).contains(&Mix::Shoppers.mean_steps()));
        let shares: f64 = SHOPPERS.iter().map(|(_, share)| share).sum();
        assert_eq!(shares, 100.0);
        let only = Mix::Only("ride".parse().unwrap());
        assert!((0..50).all(|_| only.draw(&mut rng) == Journey::Ride));
    }
}
