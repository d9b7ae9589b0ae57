//! Owns how users are written as JSON, here and at the gateway: strict bodies in, one shape out.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::proto::users as proto;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    email: String,
    password: String,
    #[serde(default)]
    first_name: String,
    #[serde(default)]
    last_name: String,
    address: Option<AddressBody>,
}

impl NewUser {
    #[must_use]
    pub fn into_request(self) -> proto::CreateUserRequest {
        proto::CreateUserRequest {
            email: self.email,
            password: self.password,
            first_name: self.first_name,
            last_name: self.last_name,
            address: self.address.map(AddressBody::into_proto),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserChange {
    first_name: Option<String>,
    last_name: Option<String>,
    address: Option<AddressBody>,
    is_active: Option<bool>,
}

impl UserChange {
    #[must_use]
    pub fn into_request(self, user_id: &str) -> proto::UpdateUserRequest {
        proto::UpdateUserRequest {
            user_id: user_id.to_owned(),
            first_name: self.first_name,
            last_name: self.last_name,
            address: self.address.map(AddressBody::into_proto),
            is_active: self.is_active,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddressBody {
    street: String,
    city: String,
    #[serde(default)]
    state: String,
    zip_code: String,
    country: String,
}

impl AddressBody {
    #[must_use]
    pub fn into_proto(self) -> proto::Address {
        proto::Address {
            street: self.street,
            city: self.city,
            state: self.state,
            zip_code: self.zip_code,
            country: self.country,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    email: String,
    password: String,
}

impl Credentials {
    #[must_use]
    pub fn into_request(self) -> proto::AuthenticateRequest {
        proto::AuthenticateRequest {
            email: self.email,
            password: self.password,
        }
    }
}

#[must_use]
pub fn user_json(user: &proto::User) -> Value {
    json!({
        "user_id": user.user_id,
        "email": user.email,
        "first_name": user.first_name,
        "last_name": user.last_name,
        "address": user.address.as_ref().map(address_json),
        "is_active": user.is_active,
        "created_at": user.created_at,
        "updated_at": user.updated_at,
    })
}

#[must_use]
pub fn address_json(address: &proto::Address) -> Value {
    json!({
        "street": address.street,
        "city": address.city,
        "state": address.state,
        "zip_code": address.zip_code,
        "country": address.country,
    })
}

#[must_use]
pub fn session_json(session: &proto::Session) -> Value {
    json!({ "token": session.token, "user_id": session.user_id, "expires_at": session.expires_at })
}
