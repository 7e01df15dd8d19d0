//! Which web pages may call. Preflights are answered before any key is looked at, and every answer carries the headers, errors too.

use actix_cors::Cors;
use actix_web::body::{BoxBody, EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::{Method, header};
use actix_web::middleware::Next;
use actix_web::{Error, ResponseError, web};

use super::api::Api;
use super::error::ApiError;
use super::settings::CorsSettings;

/// How long a browser may keep the answer to a preflight.
const PREFLIGHT_SECONDS: usize = 600;

/// Makes the layer that answers preflights and adds the headers.
pub(super) fn layer(settings: &CorsSettings) -> Cors {
    let methods: Vec<Method> =
        settings.methods.iter().filter_map(|name| Method::from_bytes(name.trim().as_bytes()).ok()).collect();
    let cors = Cors::default().allowed_methods(methods).allow_any_header().max_age(PREFLIGHT_SECONDS);
    let cors = if settings.credentials { cors.supports_credentials() } else { cors };
    let settings = settings.clone();
    cors.allowed_origin_fn(move |origin, _| allows(&settings, origin.as_bytes()))
}

/// Refuses pages of other origins in the contract's shape. A caller without an origin is no page, and passes.
pub(super) async fn refuse_foreign_origins<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B, BoxBody>>, Error> {
    let foreign = match (request.headers().get(header::ORIGIN), request.app_data::<web::Data<Api>>()) {
        (Some(origin), Some(api)) => !allows(&api.settings.cors, origin.as_bytes()),
        _ => false,
    };
    if foreign {
        let answer = ApiError::origin_refused().error_response();
        return Ok(request.into_response(answer).map_into_right_body());
    }
    Ok(next.call(request).await?.map_into_left_body())
}

fn allows(settings: &CorsSettings, origin: &[u8]) -> bool {
    settings.origins.iter().map(|allowed| allowed.trim()).any(|allowed| allowed == "*" || allowed.as_bytes() == origin)
}
