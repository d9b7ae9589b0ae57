//! Owns the gateway's routes to user-management: profile, addresses, accounts and signing in.

use std::sync::Arc;
use std::time::Duration;

use http::Method;

use super::routes::{DEFAULT_USER, keyed_options, read_options};
use crate::call::{CallOptions, grpc};
use crate::catalog::USERS;
use crate::error::ApiError;
use crate::proto::users;
use crate::resilience::retry;
use crate::runtime::Rt;
use crate::seed;
use crate::server::http::{Class, HttpReply, HttpRequest, Router};
use crate::server::parse;
use crate::server::router::business_routes;
use crate::services::user_management::wire::{
    AddressBody, Credentials, NewUser, session_json, user_json,
};

/// The one address that a user has here.
const ADDRESS_ID: &str = "addr-1";

pub(super) fn router(rt: &Rt) -> Router {
    let mut router = Router::new();
    business_routes! { router, rt;
        GET "/api/v1/account/profile" profile;
        PUT "/api/v1/account/addresses/{id}" change_address;
        POST "/api/v1/account/addresses/{id}" change_address;
        POST "/api/v1/users/authenticate" authenticate;
        GET "/api/v1/users/{id}" get_user;
        POST "/api/v1/users" create_user;
    }
    for (path, is_list) in [
        ("/users", true),
        ("/api/users", true),
        ("/users/{id}", false),
        ("/api/users/{id}", false),
    ] {
        let shared = Arc::clone(rt);
        let method = if is_list { Method::POST } else { Method::GET };
        router = router.route(
            method,
            path,
            Class::Business,
            move |request: HttpRequest| {
                let rt = Arc::clone(&shared);
                async move {
                    if is_list {
                        create_user(&rt, &request).await
                    } else {
                        get_user(&rt, &request).await
                    }
                }
            },
        );
    }
    router
}

async fn read_user(rt: &Rt, user_id: &str) -> Result<HttpReply, ApiError> {
    let ask = users::UserRef {
        user_id: user_id.to_owned(),
    };
    let user: users::User = grpc::unary(
        rt,
        "users.v1.UsersService/GetUser",
        read_options(USERS, 5),
        ask,
    )
    .await?;
    Ok(HttpReply::json(200, user_json(&user)))
}

async fn profile(rt: &Rt, request: &HttpRequest) -> Result<HttpReply, ApiError> {
    read_user(rt, request.header("x-user-id").unwrap_or(DEFAULT_USER)).await
}

async fn get_user(rt: &Rt, request: &HttpRequest) -> Result<HttpReply, ApiError> {
    read_user(rt, request.param("id")).await
}

async fn change_address(rt: &Rt, request: &HttpRequest) -> Result<HttpReply, ApiError> {
    let address: AddressBody = parse(&request.body)?;
    if request.param("id") != ADDRESS_ID {
        return Err(
            ApiError::not_found("ADDRESS_NOT_FOUND", "there is no such address")
                .fact("known", ADDRESS_ID),
        );
    }
    let user = request.header("x-user-id").unwrap_or(DEFAULT_USER);
    let ask = users::UpdateUserRequest {
        user_id: seed::user_id(user).to_owned(),
        address: Some(address.into_proto()),
        ..users::UpdateUserRequest::default()
    };
    let options = keyed_options(USERS, request.header("idempotency-key"))?;
    let user: users::User =
        grpc::unary(rt, "users.v1.UsersService/UpdateUser", options, ask).await?;
    Ok(HttpReply::json(200, user_json(&user)))
}

async fn create_user(rt: &Rt, request: &HttpRequest) -> Result<HttpReply, ApiError> {
    let ask = parse::<NewUser>(&request.body)?.into_request();
    let options = keyed_options(USERS, request.header("idempotency-key"))?;
    let user: users::User =
        grpc::unary(rt, "users.v1.UsersService/CreateUser", options, ask).await?;
    Ok(HttpReply::json(201, user_json(&user)))
}

async fn authenticate(rt: &Rt, request: &HttpRequest) -> Result<HttpReply, ApiError> {
    let ask = parse::<Credentials>(&request.body)?.into_request();
    let options = CallOptions {
        service: USERS,
        timeout: Duration::from_secs(5),
        retry: retry::Class::None,
        key: None,
    };
    let session: users::Session =
        grpc::unary(rt, "users.v1.UsersService/AuthenticateUser", options, ask).await?;
    Ok(HttpReply::json(200, session_json(&session)))
}
