//! `/v2/<name>/tags/list`.

use http::StatusCode;
use serde_json::json;

use super::{Answer, Call, Fault};
use crate::name::RepositoryName;
use crate::page::{Page, encode};

/// Lists tags in the order of their bytes.
pub(super) async fn list(call: &Call, name: RepositoryName) -> Result<Answer, Fault> {
    let page = parse_page(call)?;
    let limit = page.limit;
    let repository = name.clone();
    let listed = call.storage.run(move |storage| storage.tags(&repository, page)).await?;
    let Some((tags, more)) = listed else { return Err(Fault::no_repository(&name)) };
    let answer = Answer::json(StatusCode::OK, json!({ "name": name.as_str(), "tags": tags }).to_string());
    Ok(match tags.last() {
        Some(last) if more => {
            answer.next_page(&format!("/v2/{name}/tags/list?n={limit}&last={}", encode(last)))
        }
        _ => answer,
    })
}

pub(super) fn parse_page(call: &Call) -> Result<Page, Fault> {
    Page::parse(call.query()).ok_or_else(|| Fault::bad("PAGINATION_NUMBER_INVALID", "n is not a number"))
}
