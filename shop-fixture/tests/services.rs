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

#[tokio::test]
async fn search_follows_the_catalogue_and_reviews_are_kept_once() {
    let shop = start(|_| {}).await;
    let get = async |path: &str| ask(&shop, Method::GET, path, "user-001", None).await;
    let ids = |answer: &Value| -> Vec<String> {
        let rows = answer["body"]["results"].as_array().unwrap();
        rows.iter()
            .map(|row| row["product_id"].as_str().unwrap().to_owned())
            .collect()
    };
    let (status, found) = get("/api/v1/search?q=LAPTOP+14").await;
    assert_eq!(
        (status, ids(&found)[0].as_str()),
        (200, "laptop-123"),
        "{found}"
    );
    let (_, cheap) = get("/api/v1/search?brand=aster&category=laptops&price_max=129899").await;
    assert!(!ids(&cheap).contains(&"laptop-123".to_owned()) && !ids(&cheap).is_empty());
    for bad in ["price_min=x", "price_min=5&price_max=4", "limit=-1"] {
        assert_eq!(get(&format!("/api/v1/search?{bad}")).await.0, 400, "{bad}");
    }
    let rename = json!({ "name": "Zephyr Anemometer" });
    let path = "/api/v1/products/prd-011";
    assert_eq!(
        ask(&shop, Method::PUT, path, "user-001", Some(rename))
            .await
            .0,
        200
    );
    eventually("the new name", LIMIT, async || {
        (ids(&get("/api/v1/search?q=anemometer").await.1) == ["prd-011"]).then_some(())
    })
    .await;

    let body = json!({ "product_id": "prd-011", "rating": 4, "comment": "turns well" });
    let key = "one-review";
    for _ in 0..2 {
        let url = format!("{}/api/v1/reviews", shop.gateway());
        let request = shop
            .client
            .post(url)
            .header("idempotency-key", key)
            .json(&body);
        let answer = request.header("x-user-id", "123").send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 201);
    }
    let (_, reviews) = get("/api/v1/reviews?product_id=prd-011").await;
    assert_eq!(reviews["body"]["count"], 1, "{reviews}");
    assert_eq!(reviews["body"]["reviews"][0]["user_id"], "user-123");
    assert_eq!(get("/api/v1/reviews?product_id=nothing").await.0, 404);
    for bad in [
        json!({ "product_id": "prd-011", "rating": 6 }),
        json!({ "product_id": "prd-011", "rating": 4, "stars": 1 }),
    ] {
        let answer = ask(
            &shop,
            Method::POST,
            "/api/v1/reviews",
            "user-001",
            Some(bad),
        )
        .await;
        assert_eq!(answer.0, 400, "{}", answer.1);
    }
    shop_fixture::flags::set(shop.dir.path(), "reviews-enabled", &json!(false))
        .await
        .unwrap();
    eventually("no reviews", LIMIT, async || {
        (get("/api/v1/reviews").await.1["body"]["enabled"] == false).then_some(())
    })
    .await;
    let answer = ask(
        &shop,
        Method::POST,
        "/api/v1/reviews",
        "user-001",
        Some(body),
    )
    .await;
    assert_eq!(
        (answer.0, &answer.1["error"]["code"]),
        (409, &json!("REVIEWS_DISABLED"))
    );
    shop.shop.stop().await;
}

#[tokio::test]
async fn books_and_revenue_follow_the_payments_and_a_suspicious_order_is_flagged() {
    let shop = start(|_| {}).await;
    assert_eq!(shop.checkout(json!({}), "").await.0, 201);
    // Paid, then given back, because shipping fails.
    let failed = shop
        .checkout(json!({}), "?behavior=shipping:error%3D500:1")
        .await;
    assert_eq!(failed.0, 409, "{}", failed.1);
    let add = json!({ "product_id": "laptop-123", "quantity": 20 });
    let cart = eventually("stock", LIMIT, async || {
        let (status, cart) = ask(
            &shop,
            Method::POST,
            "/api/v1/cart/add",
            "user-009",
            Some(add.clone()),
        )
        .await;
        (status == 200).then_some(cart)
    })
    .await;
    let order = json!({ "cart_id": cart["body"]["cart_id"] });
    let (status, large) = ask(
        &shop,
        Method::POST,
        "/api/v1/checkout",
        "user-009",
        Some(order.clone()),
    )
    .await;
    assert_eq!(status, 201, "{large}");
    let order_id = large["body"]["order_id"].as_str().unwrap();
    eventually("the flag", LIMIT, async || {
        let told = shop
            .debug(&format!("/ledgers/notifications?order_id={order_id}"))
            .await;
        let told = told.as_array().unwrap();
        told.iter()
            .any(|row| row["type"] == "FraudFlagged")
            .then_some(())
    })
    .await;
    let total = 129_900 + 2_598_000;
    let etl = shop
        .ports
        .instances
        .iter()
        .find(|one| one.service == "etl")
        .unwrap();
    let url = format!("http://127.0.0.1:{}/analytics/revenue", etl.http.unwrap());
    let revenue = eventually("the revenue", LIMIT, async || {
        let revenue = shop.get(&url).await.1;
        (revenue["net_cents"] == total && revenue["refund_cents"] == 129_900).then_some(revenue)
    })
    .await;
    assert_eq!(revenue["orders"], 3, "{revenue}");
    // Their bounds follow the shop's time; on a busy machine the last event may come later than that.
    eventually("all invariants", LIMIT, async || {
        let check = shop.debug("/ledgers/check").await;
        (check["violations"] == json!([])).then_some(())
    })
    .await;

    // A row that is not what the books say must be noticed, and so must a view that grows old.
    shop.fault(json!({ "kind": "etl_stale", "target": { "service": "etl" }, "ttl_s": 600.0 }))
        .await;
    eventually("an old view", LIMIT, async || {
        let check = shop.debug("/ledgers/check").await;
        let found = check["violations"].as_array().unwrap();
        found
            .iter()
            .any(|row| row["invariant"] == "I15")
            .then_some(())
    })
    .await;

    // With the flag on, payment asks first.
    shop_fixture::flags::set(shop.dir.path(), "fraud-sync", &json!(true))
        .await
        .unwrap();
    let stolen = json!({ "payment_method_id": "card-456" });
    eventually("payment asks", LIMIT, async || {
        let (_, answer) = shop.checkout(stolen.clone(), "").await;
        let calls = answer["all_calls"].as_array().unwrap();
        calls
            .iter()
            .any(|call| call["name"] == "fraud-detection")
            .then_some(())
    })
    .await;
    shop.shop.stop().await;
}
