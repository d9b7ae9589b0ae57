//! Owns the routes of a listener: their templates, what surrounds their handlers, and what the gateway adds at the edge.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use http::Method;

use super::Begun;
use super::http::{HttpReply, HttpRequest};
use crate::error::ApiError;
use crate::propagation::Baggage;
use crate::runtime::Rt;

/// Adds routes of business, one a line; each handler gets the runtime and the request.
macro_rules! business_routes {
    ($router:ident, $rt:expr; $($method:ident $path:literal $handler:expr;)*) => {$(
        let shared = std::sync::Arc::clone($rt);
        $router = $router.route(
            http::Method::$method,
            $path,
            $crate::server::http::Class::Business,
            move |request: $crate::server::http::HttpRequest| {
                let rt = std::sync::Arc::clone(&shared);
                async move { $handler(&rt, &request).await }
            },
        );
    )*};
}
pub(crate) use business_routes;

type Answer = Pin<Box<dyn Future<Output = Result<HttpReply, ApiError>> + Send>>;
pub(super) type Handler = Arc<dyn Fn(HttpRequest) -> Answer + Send + Sync>;

/// What surrounds a handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Traced, delayed, and subject to injected errors.
    Business,
    /// Traced alone.
    Traced,
    /// Traced when the caller sends a trace context, silent otherwise: what is probed every few seconds would drown all
    /// else, and yet a probe must be able to find out whether a service takes a context up.
    Probed,
    /// Neither: health, metrics, administration, debugging, polling.
    Silent,
}

pub(super) struct Route {
    method: Method,
    pub(super) template: &'static str,
    pub(super) class: Class,
    pub(super) handler: Handler,
}

/// What the gateway does at the edge of the shop that no inner service does.
pub trait Edge: Send + Sync {
    /// Decides what baggage enters the shop. An error refuses the request, inside its span.
    fn admit(&self, rt: &Rt, request: &HttpRequest, baggage: &mut Baggage) -> Result<(), ApiError>;
    /// Looks at the request once its span runs: headers that its answer will carry, and whether it may go on.
    fn enter(
        &self,
        rt: &Rt,
        request: &HttpRequest,
        begun: &Begun,
    ) -> (Vec<(&'static str, String)>, Result<(), ApiError>);
    /// Puts the final touch to an answer.
    fn dress(
        &self,
        rt: &Rt,
        request: &HttpRequest,
        begun: &Begun,
        started: u64,
        outcome: Result<HttpReply, ApiError>,
    ) -> HttpReply;
}

/// The routes of one listener.
#[derive(Default)]
pub struct Router {
    routes: Vec<Route>,
    pub(super) edge: Option<Arc<dyn Edge>>,
    pub(super) not_found: Option<&'static str>,
}

impl Router {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn route<F, A>(
        mut self,
        method: Method,
        template: &'static str,
        class: Class,
        handler: F,
    ) -> Self
    where
        F: Fn(HttpRequest) -> A + Send + Sync + 'static,
        A: Future<Output = Result<HttpReply, ApiError>> + Send + 'static,
    {
        let handler: Handler = Arc::new(move |request| Box::pin(handler(request)));
        self.routes.push(Route {
            method,
            template,
            class,
            handler,
        });
        self
    }

    #[must_use]
    pub fn with_edge(mut self, edge: Arc<dyn Edge>) -> Self {
        self.edge = Some(edge);
        self.not_found = Some("NOT_ROUTED");
        self
    }

    #[must_use]
    pub fn merge(mut self, other: Router) -> Self {
        self.routes.extend(other.routes);
        self
    }

    /// Method and path of every route, for the debug page.
    #[must_use]
    pub fn listed(&self) -> Vec<(String, &'static str)> {
        self.routes
            .iter()
            .map(|route| (route.method.to_string(), route.template))
            .collect()
    }

    /// The route of a request, or whether at least its path is known.
    pub(super) fn find(&self, method: &Method, path: &str) -> Found<'_> {
        let mut known = false;
        for route in &self.routes {
            if let Some(params) = match_path(route.template, path) {
                if route.method == *method {
                    return Found::Route(route, params);
                }
                known = true;
            }
        }
        if known {
            Found::OtherMethod
        } else {
            Found::Nothing
        }
    }
}

pub(super) enum Found<'a> {
    Route(&'a Route, Vec<(&'static str, String)>),
    OtherMethod,
    Nothing,
}

fn match_path(template: &'static str, path: &str) -> Option<Vec<(&'static str, String)>> {
    let mut params = Vec::new();
    let mut segments = path.split('/');
    for expected in template.split('/') {
        let segment = segments.next()?;
        match expected
            .strip_prefix('{')
            .and_then(|name| name.strip_suffix('}'))
        {
            Some(name) if !segment.is_empty() => {
                params.push((name, crate::propagation::baggage::percent_decode(segment)));
            }
            Some(_) => return None,
            None if expected == segment => {}
            None => return None,
        }
    }
    segments.next().is_none().then_some(params)
}

#[must_use]
pub fn parse_query(query: &str) -> Vec<(String, String)> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decode =
                |text: &str| crate::propagation::baggage::percent_decode(&text.replace('+', " "));
            (decode(name), decode(value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn templates_match_whole_segments() {
        assert!(match_path("/orders", "/orders").is_some());
        assert!(match_path("/orders", "/ordersx").is_none());
        assert!(match_path("/orders", "/orders/x").is_none());
        let params = match_path("/orders/{id}/status", "/orders/a%2Fb/status").unwrap();
        assert_eq!(params, [("id", "a/b".to_owned())]);
        assert!(match_path("/orders/{id}", "/orders/").is_none());
    }

    #[test]
    fn queries_are_decoded() {
        assert_eq!(
            parse_query("a=1&b=x%20y+z&c&&d=%"),
            [
                ("a".to_owned(), "1".to_owned()),
                ("b".to_owned(), "x y z".to_owned()),
                ("c".to_owned(), String::new()),
                ("d".to_owned(), "%".to_owned()),
            ]
        );
    }
}
