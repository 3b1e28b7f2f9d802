//! `/v2/_catalog`: not in the specification, but every registry has it.

use http::StatusCode;
use serde_json::json;

use super::tags::parse_page;
use super::{Answer, Call, Fault};
use crate::page::encode;

/// Lists repositories in the order of their bytes.
pub(super) async fn list(call: &Call) -> Result<Answer, Fault> {
    let page = parse_page(call)?;
    let limit = page.limit;
    let (names, more) = call.storage.run(move |storage| storage.catalog(page)).await?;
    let answer = Answer::json(StatusCode::OK, json!({ "repositories": names }).to_string());
    Ok(match names.last() {
        Some(last) if more => answer.next_page(&format!("/v2/_catalog?n={limit}&last={}", encode(last))),
        _ => answer,
    })
}
