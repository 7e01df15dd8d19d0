//! `GET /engine/dead-letters`, `POST /engine/dead-letters/redrive` and `DELETE /engine/dead-letters`.

use actix_web::{HttpRequest, web};
use serde_json::{Map, Value, json};

use super::date;
use crate::http::api::{Api, to_the_end};
use crate::http::body::Body;
use crate::http::error::{Answer, ApiError};
use crate::http::schema::{Rule, Schema};
use crate::http::{auth, query, reply};
use crate::ports::address;
use crate::ports::dead_letters::{DeadLetter, Page, Selection};

const USUAL: u32 = 100;
const MOST: u32 = 500;
/// With payloads, which may be large.
const MOST_WITH_DATA: u32 = 50;
/// Ids in one request.
const MOST_IDS: usize = 1000;

const SELECTION: Schema = Schema {
    fields: &[
        ("ids", Rule::List { items: &Rule::Whole, min: 1, unique: true }),
        ("instance", Rule::Text),
        ("all", Rule::Flag),
    ],
    required: &[],
};

/// Answers with a page, the oldest first; `next` is where the next one begins.
pub(in crate::http) async fn list(api: web::Data<Api>, request: HttpRequest) -> Answer {
    auth::global(&api, &request)?;
    let page = page(&request)?;
    let letters = api.store.dead_letters(page.clone()).await.map_err(|error| ApiError::of_store(error, ""))?;
    let full = letters.len() >= page.limit as usize;
    let next = letters.last().filter(|_| full).map(|last| last.seq);
    let letters: Vec<Value> = letters.into_iter().map(view).collect();
    Ok(reply::ok(&json!({ "deadLetters": letters, "next": next })))
}

/// Puts the chosen ones back into the queue.
pub(in crate::http) async fn redrive(api: web::Data<Api>, request: HttpRequest, Body(body): Body) -> Answer {
    auth::global(&api, &request)?;
    let selection = selection(&body)?;
    let done =
        to_the_end(async move { api.store.redrive(selection).await.map_err(|error| ApiError::of_store(error, "")) })
            .await?;
    Ok(reply::ok(&json!({ "redriven": done.redriven, "left": done.left })))
}

/// Throws the chosen ones away.
pub(in crate::http) async fn discard(api: web::Data<Api>, request: HttpRequest, Body(body): Body) -> Answer {
    auth::global(&api, &request)?;
    let selection = selection(&body)?;
    let discarded =
        to_the_end(async move { api.store.discard(selection).await.map_err(|error| ApiError::of_store(error, "")) })
            .await?;
    Ok(reply::ok(&json!({ "deleted": discarded })))
}

fn page(request: &HttpRequest) -> Result<Page, ApiError> {
    let data = match query::parameter(request, "data").as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(wrong("data is neither true nor false")),
    };
    let after = number(request, "after")?.unwrap_or(0);
    let most = if data { MOST_WITH_DATA } else { MOST };
    let limit = number(request, "limit")?.map_or(USUAL, |limit| u32::try_from(limit).unwrap_or(u32::MAX));
    if limit == 0 {
        return Err(wrong("limit is at least 1"));
    }
    Ok(Page { instance: query::parameter(request, "instance"), after, limit: limit.min(most), data })
}

fn number(request: &HttpRequest, name: &str) -> Result<Option<i64>, ApiError> {
    let Some(text) = query::parameter(request, name) else { return Ok(None) };
    match text.parse() {
        Ok(number) if number >= 0 => Ok(Some(number)),
        Ok(_) | Err(_) => Err(wrong(&format!("{name} is not a whole number"))),
    }
}

/// Reads which letters are meant. Exactly one way to choose has to be there, so that a slip never means everything.
fn selection(body: &Value) -> Result<Selection, ApiError> {
    let fields = SELECTION.check_all(body)?;
    if fields.len() != 1 {
        return Err(wrong("instance requires exactly one of \"ids\", \"instance\" and \"all\""));
    }
    chosen(fields).ok_or_else(|| wrong("\"ids\" are at most 1000 row numbers, \"instance\" is a name, \"all\" is true"))
}

fn chosen(fields: &Map<String, Value>) -> Option<Selection> {
    if let Some(ids) = fields.get("ids").and_then(Value::as_array) {
        let rows: Option<Vec<i64>> = ids.iter().map(Value::as_i64).collect();
        return rows.filter(|rows| rows.len() <= MOST_IDS).map(Selection::Rows);
    }
    if let Some(name) = fields.get("instance").and_then(Value::as_str) {
        return (!name.is_empty()).then(|| Selection::Instance(name.to_owned()));
    }
    (fields.get("all") == Some(&Value::Bool(true))).then_some(Selection::All)
}

fn wrong(what: &str) -> ApiError {
    ApiError::invalid(vec![what.to_owned()])
}

fn view(letter: DeadLetter) -> Value {
    let mut view = json!({
        "id": letter.seq,
        "eventId": letter.event_id,
        "instanceName": letter.instance_name,
        "instanceId": letter.instance,
        "event": letter.event,
        "at": date(letter.at_ms),
        "deadAt": date(letter.dead_ms),
        "attempts": letter.tries,
        "why": letter.why,
        "url": address::shown(&letter.url),
    });
    if let Some(data) = letter.data {
        view["data"] = data;
    }
    view
}
