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
