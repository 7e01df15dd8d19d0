//! The query string. It never names the instance: the path does.

use actix_web::HttpRequest;
use url::form_urlencoded;

/// Returns a parameter's value, `None` if it is absent or empty.
pub(super) fn parameter(request: &HttpRequest, name: &str) -> Option<String> {
    form_urlencoded::parse(request.query_string().as_bytes())
        .find(|(key, value)| key == name && !value.is_empty())
        .map(|(_, value)| value.into_owned())
}
