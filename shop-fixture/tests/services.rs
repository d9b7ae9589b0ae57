//! What the services beside the checkout do, through the gateway and real processes: users, carts, flags.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use support::{LIMIT, Running, eventually, start};

/// Asks the gateway as `user`, with a fresh key where something may change.
async fn ask(
    shop: &Running,
    method: Method,
    path: &str,
    user: &str,
    body: Option<Value>,
) -> (u16, Value) {
    let mut request = shop
        .client
        .request(method, format!("{}{path}", shop.gateway()))
        .header("x-user-id", user)
        .header(
            "idempotency-key",
            format!("test-{}", shop_fixture::ids::uuid()),
        )
        .timeout(LIMIT);
    if let Some(body) = body {
        request = request.json(&body);
    }
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap())
}

#[tokio::test]
async fn users_sign_in_are_created_and_change_their_address() {
    let shop = start(|_| {}).await;
    let get = async |path: &str, user: &str| ask(&shop, Method::GET, path, user, None).await;
    let (status, profile) = get("/api/v1/account/profile", "123").await;
    assert_eq!(
        (status, &profile["body"]["user_id"]),
        (200, &json!("user-123"))
    );
    assert!(profile.to_string().find("password").is_none(), "{profile}");
    let (status, user) = get("/users/user-007", "x").await;
    assert_eq!(
        (status, &user["email"]),
        (200, &json!("user-007@shop.example"))
    );
    assert_eq!(get("/api/v1/users/nobody", "x").await.0, 404);

    let credentials = json!({ "email": "USER-007@shop.example", "password": "shop-password" });
    let path = "/api/v1/users/authenticate";
    let (status, session) = ask(&shop, Method::POST, path, "x", Some(credentials)).await;
    assert_eq!(status, 200, "{session}");
    assert!(
        session["body"]["token"]
            .as_str()
            .unwrap()
            .starts_with("ses_")
    );
    for wrong in [
        json!({ "email": "user-007@shop.example", "password": "shop-passwort" }),
        json!({ "email": "user-inactive@shop.example", "password": "shop-password" }),
        json!({ "email": "nobody@shop.example", "password": "shop-password" }),
    ] {
        let (status, refused) = ask(&shop, Method::POST, path, "x", Some(wrong)).await;
        assert_eq!(
            (status, &refused["error"]["code"]),
            (401, &json!("UNAUTHENTICATED"))
        );
    }

    let new =
        json!({ "email": "new@shop.example", "password": "long enough", "first_name": "New" });
    let (status, created) = ask(&shop, Method::POST, "/api/v1/users", "x", Some(new.clone())).await;
    assert_eq!(status, 201, "{created}");
    let id = created["body"]["user_id"].as_str().unwrap().to_owned();
    assert!(
        id.starts_with("usr_") && created["body"]["address"].is_null(),
        "{created}"
    );
    let (status, taken) = ask(&shop, Method::POST, "/api/v1/users", "x", Some(new)).await;
    assert_eq!(
        (status, &taken["error"]["code"]),
        (409, &json!("EMAIL_TAKEN"))
    );
    let address =
        json!({ "street": "2 High Street", "city": "Bath", "zip_code": "BA1", "country": "GB" });
    let path = "/api/v1/account/addresses/addr-1";
    let (status, changed) = ask(&shop, Method::PUT, path, &id, Some(address.clone())).await;
    assert_eq!(
        (status, &changed["body"]["address"]["city"]),
        (200, &json!("Bath")),
        "{changed}"
    );
    let path = "/api/v1/account/addresses/addr-9";
    assert_eq!(
        ask(&shop, Method::PUT, path, &id, Some(address)).await.0,
        404
    );
    shop.shop.stop().await;
}

#[tokio::test]
async fn a_cart_is_filled_follows_the_price_and_becomes_an_order() {
    let shop = start(|_| {}).await;
    let user = "user-042";
    let add = async |product: &str, quantity: Value| {
        let body = json!({ "product_id": product, "quantity": quantity });
        ask(&shop, Method::POST, "/api/v1/cart/add", user, Some(body)).await
    };
    let cart = async || ask(&shop, Method::GET, "/api/v1/cart", user, None).await;
    assert_eq!(cart().await.1["body"]["items"], json!([]));
    // The stock that browsing sees is there a moment after the start.
    let first = eventually("stock", Duration::from_secs(5), async || {
        let (status, cart) = add("prd-005", json!(2)).await;
        (status == 200).then_some(cart)
    })
    .await;
    assert_eq!(first["body"]["stock_checked"], true, "{first}");
    let price = first["body"]["items"][0]["unit_price_cents"]
        .as_i64()
        .unwrap();
    let (_, second) = add("prd_456", json!(1)).await;
    assert_eq!(second["body"]["items"][1]["product_id"], "456");
    assert_eq!(second["body"]["total_cents"], 2 * price + 19_900);
    let (status, refused) = add("sold-out-000", json!(1)).await;
    assert_eq!(
        (status, &refused["error"]["code"]),
        (409, &json!("INSUFFICIENT_STOCK"))
    );
    assert_eq!(add("nothing", json!(1)).await.0, 404);
    assert_eq!(add("prd-005", json!(0)).await.0, 400);
    assert_eq!(add("prd-005", json!("two")).await.0, 400);

    let path = "/api/v1/products/prd-005/price";
    let changed = json!({ "price_cents": price + 1 });
    assert_eq!(
        ask(&shop, Method::PUT, path, user, Some(changed)).await.0,
        200
    );
    eventually("the new price", LIMIT, async || {
        (cart().await.1["body"]["items"][0]["unit_price_cents"] == price + 1).then_some(())
    })
    .await;
    let path = "/api/v1/cart/items/456";
    assert_eq!(ask(&shop, Method::DELETE, path, user, None).await.0, 200);
    assert_eq!(ask(&shop, Method::DELETE, path, user, None).await.0, 404);

    let id = first["body"]["cart_id"].as_str().unwrap();
    let body = json!({ "cart_id": id });
    let (status, foreign) = ask(
        &shop,
        Method::POST,
        "/api/v1/checkout",
        "user-001",
        Some(body.clone()),
    )
    .await;
    assert_eq!(
        (status, &foreign["error"]["code"]),
        (404, &json!("CART_NOT_FOUND"))
    );
    let (status, order) = ask(
        &shop,
        Method::POST,
        "/api/v1/checkout",
        user,
        Some(body.clone()),
    )
    .await;
    assert_eq!(status, 201, "{order}");
    assert_eq!(order["body"]["total_cents"], 2 * (price + 1));
    assert_eq!(cart().await.1["body"]["items"], json!([]));
    let (status, gone) = ask(&shop, Method::POST, "/api/v1/checkout", user, Some(body)).await;
    assert_eq!(
        (status, &gone["error"]["code"]),
        (404, &json!("CART_NOT_FOUND"))
    );
    shop.shop.stop().await;
}

#[tokio::test]
async fn a_flag_that_is_set_reaches_every_process_and_takes_effect() {
    let shop = start(|_| {}).await;
    let run_dir = shop.dir.path();
    let flags = shop_fixture::flags::list(run_dir).await.unwrap();
    assert_eq!(flags.len(), 7);
    assert!(
        flags.iter().all(|flag| flag["value"] == flag["default"]),
        "{flags:?}"
    );
    for (key, value) in [
        ("fraud-sync", json!("on")),
        ("http-pool-size", json!(0)),
        ("x", json!(1)),
    ] {
        assert!(
            shop_fixture::flags::set(run_dir, key, &value)
                .await
                .is_err(),
            "{key}"
        );
    }
    let add = json!({ "product_id": "laptop-123", "quantity": 1 });
    let total = async || {
        let answer = ask(&shop, Method::GET, "/api/v1/cart", "user-001", None).await;
        answer.1["body"]["total_cents"].as_i64().unwrap()
    };
    ask(
        &shop,
        Method::POST,
        "/api/v1/cart/add",
        "user-001",
        Some(add),
    )
    .await;
    assert_eq!(total().await, 129_900);
    shop_fixture::flags::set(run_dir, "new-pricing", &json!(100))
        .await
        .unwrap();
    eventually("the new prices", LIMIT, async || {
        (total().await == 123_405).then_some(())
    })
    .await;

    // One call at a time still serves everybody, one after the other.
    shop_fixture::flags::set(run_dir, "http-pool-size", &json!(1))
        .await
        .unwrap();
    let admin = shop
        .ports
        .instances
        .iter()
        .find(|one| one.service == "api-gateway")
        .unwrap()
        .admin;
    let page = async || {
        let url = format!("http://127.0.0.1:{admin}/metrics");
        shop.client
            .get(url)
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap()
    };
    let size = r#"shop_pool_size{pool="shopping-cart",service="api-gateway"} 1"#;
    let mut last = String::new();
    eventually("a pool of one", LIMIT, async || {
        last = page().await;
        last.lines().any(|line| line == size).then_some(())
    })
    .await;
    let all = futures_util::future::join_all((0..20).map(|_| total())).await;
    assert_eq!(all, vec![123_405; 20]);
    shop.shop.stop().await;
}
