//! Owns user-management: users, their passwords as hashes, and the sessions of those who signed in. The same calls are
//! served over gRPC and HTTP.

mod users;
pub mod wire;

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde_json::json;
use tonic::{Code, Request, Response, Status};

use super::{Served, keyed};
use crate::clock::rfc3339;
use crate::error::{ApiError, ShopError};
use crate::idempotency;
use crate::ids::{ulid, uuid};
use crate::proto::users as proto;
use crate::proto::users::users_service_server::{UsersService, UsersServiceServer};
use crate::runtime::Rt;
use crate::server::http::{Class, HttpReply, HttpRequest, Router};
use crate::server::{admin, parse};
use crate::store::kv::{self, Kv};
use crate::store::{Store, StoreError};
use wire::{Credentials, NewUser, UserChange, session_json, user_json};

const BCRYPT_COST: u32 = 12;
const SESSIONS: Kv = Kv {
    collection: "sessions",
    ttl: Duration::from_secs(24 * 3_600),
};

pub fn start(rt: &Rt) -> Result<Served, ShopError> {
    let seed = users::seed_sql();
    let migrations = [
        users::SCHEMA,
        seed.as_str(),
        idempotency::SCHEMA,
        kv::SCHEMA,
    ];
    rt.set_store(Store::open(
        &rt.config.db_path(rt.spec.name),
        &migrations,
        Arc::clone(&rt.clock),
        rt.telemetry.clone(),
    )?);
    let users = Users { rt: Arc::clone(rt) };
    let http = router(&users).merge(admin::health(rt));
    let background = vec![
        super::background(idempotency::purge(Arc::clone(rt))),
        super::background(kv::purge(Arc::clone(rt))),
    ];
    Ok(Served {
        grpc: Some(super::with_health(rt, UsersServiceServer::new(users))),
        http: Some(http),
        background,
    })
}

#[derive(Clone)]
struct Users {
    rt: Rt,
}

fn router(users: &Users) -> Router {
    let mut router = Router::new();
    macro_rules! route {
        ($method:ident $path:literal |$users:ident, $request:ident| $answer:expr) => {
            let shared = users.clone();
            router = router.route(
                Method::$method,
                $path,
                Class::Business,
                move |$request: HttpRequest| {
                    let $users = shared.clone();
                    async move { $answer }
                },
            );
        };
    }
    route!(POST "/users" |users, request| {
        let ask = parse::<NewUser>(&request.body)?.into_request();
        Ok(HttpReply::json(201, user_json(&users.create(ask).await?)))
    });
    route!(POST "/users/authenticate" |users, request| {
        let ask = parse::<Credentials>(&request.body)?.into_request();
        Ok(HttpReply::json(200, session_json(&users.authenticate(ask).await?)))
    });
    route!(GET "/users/{id}" |users, request| {
        Ok(HttpReply::json(200, user_json(&users.get(request.param("id")).await?)))
    });
    route!(PUT "/users/{id}" |users, request| {
        let ask = parse::<UserChange>(&request.body)?.into_request(request.param("id"));
        Ok(HttpReply::json(200, user_json(&users.update(ask).await?)))
    });
    route!(POST "/users/{id}/validate" |users, request| {
        Ok(HttpReply::json(200, user_json(&users.validate(request.param("id")).await?)))
    });
    router
}

impl Users {
    async fn get(&self, user_id: &str) -> Result<proto::User, ApiError> {
        let id = user_id.to_owned();
        let found = self
            .rt
            .store()?
            .read::<_, StoreError, _>(move |tx| users::find(tx, &id))
            .await?;
        found.ok_or_else(users::not_found)
    }

    async fn validate(&self, user_id: &str) -> Result<proto::User, ApiError> {
        let user = self.get(user_id).await?;
        if !user.is_active {
            return Err(ApiError::new(
                Code::PermissionDenied,
                "USER_INACTIVE",
                "this user is not active",
            ));
        }
        Ok(user)
    }

    async fn create(&self, ask: proto::CreateUserRequest) -> Result<proto::User, ApiError> {
        check_email(&ask.email)?;
        if !(8..=72).contains(&ask.password.len()) {
            return Err(ApiError::invalid("a password has from 8 to 72 bytes"));
        }
        check_name(&ask.first_name)?;
        check_name(&ask.last_name)?;
        check_address(ask.address.as_ref())?;
        // The password itself is left out: the record must not be a way to guess it.
        let payload = json!({
            "email": ask.email, "first_name": ask.first_name, "last_name": ask.last_name,
            "address": ask.address.as_ref().map(wire::address_json),
        });
        let password = ask.password.clone();
        let hash = apart(move || bcrypt::hash(password, BCRYPT_COST)).await?;
        let created = keyed::run(&self.rt, "CreateUser", &payload, move |tx| {
            let user = users::insert(tx, &ulid("usr_"), &hash, &ask)?;
            Ok(user.map(keyed::Changed::new))
        })
        .await?;
        Ok(created.answer)
    }

    async fn update(&self, ask: proto::UpdateUserRequest) -> Result<proto::User, ApiError> {
        for name in [&ask.first_name, &ask.last_name].into_iter().flatten() {
            check_name(name)?;
        }
        check_address(ask.address.as_ref())?;
        let payload = json!({
            "user_id": ask.user_id, "first_name": ask.first_name, "last_name": ask.last_name,
            "address": ask.address.as_ref().map(wire::address_json), "is_active": ask.is_active,
        });
        let updated = keyed::run(&self.rt, "UpdateUser", &payload, move |tx| {
            Ok(users::update(tx, &ask)?.map(keyed::Changed::new))
        })
        .await?;
        Ok(updated.answer)
    }

    async fn authenticate(
        &self,
        ask: proto::AuthenticateRequest,
    ) -> Result<proto::Session, ApiError> {
        if ask.email.is_empty() || ask.password.is_empty() || ask.password.len() > 72 {
            return Err(ApiError::invalid("email and password must be given"));
        }
        let email = ask.email;
        let found = self
            .rt
            .store()?
            .read::<_, StoreError, _>(move |tx| users::credentials(tx, &email))
            .await?;
        // Nobody learns whether the address, the password or the user was at fault.
        let refused = || {
            ApiError::new(
                Code::Unauthenticated,
                "UNAUTHENTICATED",
                "e-mail address or password are wrong",
            )
        };
        let (user_id, hash, is_active) = found.ok_or_else(refused)?;
        let good = apart(move || bcrypt::verify(ask.password, &hash)).await?;
        if !good || !is_active {
            return Err(refused());
        }
        let token = format!("ses_{}", uuid());
        let expires = self.rt.clock.now() + self.rt.clock.scaled(SESSIONS.ttl).as_nanos() as u64;
        SESSIONS.put(&self.rt, &token, user_id.clone()).await?;
        Ok(proto::Session {
            token,
            user_id,
            expires_at: rfc3339(expires),
        })
    }
}

/// Hashing takes long on purpose; it must not hold up the other requests of the process.
async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, bcrypt::BcryptError> + Send + 'static,
) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| ApiError::internal("the password could not be looked at"))?
        .map_err(|_| ApiError::internal("the password could not be looked at"))
}

fn check_email(email: &str) -> Result<(), ApiError> {
    let good = email.len() <= 254
        && email
            .split_once('@')
            .is_some_and(|(name, host)| !name.is_empty() && host.contains('.'))
        && email
            .chars()
            .all(|letter| !letter.is_whitespace() && !letter.is_control());
    if good {
        Ok(())
    } else {
        Err(ApiError::invalid("email must be an e-mail address"))
    }
}

fn check_name(name: &str) -> Result<(), ApiError> {
    if name.len() <= 100 && !name.chars().any(char::is_control) {
        Ok(())
    } else {
        Err(ApiError::invalid(
            "a name has at most 100 bytes and no control characters",
        ))
    }
}

fn check_address(address: Option<&proto::Address>) -> Result<(), ApiError> {
    let Some(address) = address else {
        return Ok(());
    };
    let parts = [
        &address.street,
        &address.city,
        &address.state,
        &address.zip_code,
    ];
    let good = parts
        .into_iter()
        .all(|part| part.len() <= 200 && !part.chars().any(char::is_control))
        && !address.street.is_empty()
        && !address.city.is_empty();
    if !good {
        return Err(ApiError::invalid(
            "an address needs street and city, none of its parts longer than 200 bytes",
        ));
    }
    let country = address.country.as_bytes();
    if country.len() != 2 || !country.iter().all(u8::is_ascii_uppercase) {
        return Err(ApiError::invalid(
            "country must be an ISO 3166 code of two capital letters",
        ));
    }
    Ok(())
}

fn answer<T>(outcome: Result<T, ApiError>) -> Result<Response<T>, Status> {
    outcome
        .map(Response::new)
        .map_err(|error| error.to_status())
}

#[tonic::async_trait]
impl UsersService for Users {
    async fn authenticate_user(
        &self,
        request: Request<proto::AuthenticateRequest>,
    ) -> Result<Response<proto::Session>, Status> {
        answer(self.authenticate(request.into_inner()).await)
    }

    async fn get_user(
        &self,
        request: Request<proto::UserRef>,
    ) -> Result<Response<proto::User>, Status> {
        answer(self.get(&request.into_inner().user_id).await)
    }

    async fn create_user(
        &self,
        request: Request<proto::CreateUserRequest>,
    ) -> Result<Response<proto::User>, Status> {
        answer(self.create(request.into_inner()).await)
    }

    async fn update_user(
        &self,
        request: Request<proto::UpdateUserRequest>,
    ) -> Result<Response<proto::User>, Status> {
        answer(self.update(request.into_inner()).await)
    }

    async fn validate_user(
        &self,
        request: Request<proto::UserRef>,
    ) -> Result<Response<proto::User>, Status> {
        answer(self.validate(&request.into_inner().user_id).await)
    }
}
