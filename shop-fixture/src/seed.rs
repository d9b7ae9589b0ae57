//! Owns the data that every run begins with: products with their prices and stock, and the template carts.

use crate::proto::orders::Item;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    pub id: String,
    pub name: String,
    pub description: String,
    pub category: &'static str,
    pub price_cents: i64,
    pub stock: i64,
}

const GENERATED: usize = 97;
const CATEGORIES: [&str; 6] = [
    "laptops",
    "phones",
    "audio",
    "cameras",
    "wearables",
    "accessories",
];
const MAKES: [&str; 5] = ["Aster", "Borealis", "Cobalt", "Drift", "Ember"];

/// Every product, always the same ones.
#[must_use]
pub fn products() -> Vec<Product> {
    let special = |id: &str, name: &str, category, price_cents, stock| Product {
        id: id.to_owned(),
        name: name.to_owned(),
        description: format!("{name}, as the demonstrations use it"),
        category,
        price_cents,
        stock,
    };
    let mut all = vec![
        special("laptop-123", "Aster Laptop 14", "laptops", 129_900, 100_000),
        special("456", "Borealis Headphones", "audio", 19_900, 10_000),
        special(
            "last-one-001",
            "Cobalt Camera, last one",
            "cameras",
            49_900,
            1,
        ),
        special(
            "sold-out-000",
            "Drift Watch, sold out",
            "wearables",
            24_900,
            0,
        ),
    ];
    for number in 1..=GENERATED {
        let make = MAKES[number % MAKES.len()];
        let category = CATEGORIES[number % CATEGORIES.len()];
        let singular = category.trim_end_matches('s');
        all.push(Product {
            id: format!("prd-{number:03}"),
            name: format!("{make} {singular} {number}"),
            description: format!("A {singular} by {make}"),
            category,
            price_cents: 990 + (number as i64 * 7_919) % 90_000,
            stock: 10_000,
        });
    }
    all
}

/// The id behind an alias.
#[must_use]
pub fn product_id(id: &str) -> &str {
    if id == "prd_456" { "456" } else { id }
}

#[must_use]
pub fn price_cents(product_id: &str) -> Option<i64> {
    products()
        .into_iter()
        .find(|product| product.id == product_id)
        .map(|product| product.price_cents)
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub id: String,
    pub first_name: &'static str,
    pub last_name: &'static str,
    pub is_active: bool,
}

const FIRST_NAMES: [&str; 8] = [
    "Ada", "Bruno", "Chidi", "Dana", "Emre", "Farah", "Goro", "Hilde",
];
const LAST_NAMES: [&str; 9] = [
    "Arden", "Bell", "Castro", "Dietz", "Eriksen", "Fabre", "Gomez", "Hansen", "Ito",
];

/// The address `addr-1`, which every user of the seed begins with.
pub const ADDRESS_1: &str = r#"{"street":"1 Market Street","city":"Springfield","state":"IL","zip_code":"62701","country":"US"}"#;

/// Every user that a run begins with: the one of the demonstrations, 99 more, and one who may not buy.
#[must_use]
pub fn users() -> Vec<User> {
    let user = |id: String, number: usize, is_active| User {
        id,
        first_name: FIRST_NAMES[number % FIRST_NAMES.len()],
        last_name: LAST_NAMES[number % LAST_NAMES.len()],
        is_active,
    };
    let mut all = vec![
        user("user-123".to_owned(), 0, true),
        user("user-inactive".to_owned(), 1, false),
    ];
    all.extend((1..=GENERATED_USERS).map(|number| user(generated_user(number), number, true)));
    all
}

pub const GENERATED_USERS: usize = 99;

/// The id of a generated user, counted from 1.
#[must_use]
pub fn generated_user(number: usize) -> String {
    format!("user-{number:03}")
}

/// The id behind an alias.
#[must_use]
pub fn user_id(id: &str) -> &str {
    match id {
        "123" | "test123" | "usr_123" => "user-123",
        other => other,
    }
}

/// The lines of a template cart, which a checkout never empties.
#[must_use]
pub fn cart(cart_id: &str) -> Option<Vec<Item>> {
    let product = match cart_id {
        "cart-123" => "laptop-123",
        "cart-soldout" => "sold-out-000",
        "cart-last" => "last-one-001",
        _ => return None,
    };
    let unit_price_cents = price_cents(product)?;
    Some(vec![Item {
        product_id: product.to_owned(),
        quantity: 1,
        unit_price_cents,
    }])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn users_are_distinct_and_known_by_their_aliases() {
        let mut ids: Vec<String> = users().into_iter().map(|user| user.id).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 101);
        assert_eq!(
            (user_id("123"), user_id("user-007")),
            ("user-123", "user-007")
        );
        assert!(
            users()
                .iter()
                .any(|user| user.id == "user-inactive" && !user.is_active)
        );
        assert!(serde_json::from_str::<serde_json::Value>(ADDRESS_1).is_ok());
    }

    #[test]
    fn products_are_distinct_and_carts_know_their_prices() {
        let mut ids: Vec<String> = products().into_iter().map(|product| product.id).collect();
        assert_eq!(ids.len(), 101);
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 101);
        assert_eq!(cart("cart-123").unwrap()[0].unit_price_cents, 129_900);
        assert_eq!(cart("cart-9"), None);
    }
}
