//! `GET /v2/`: what a registry asks for, where the answer that counts does not say it (distribution specification, "API
//! version check").

use std::time::Duration;

use crate::challenge::Challenge;
use crate::host::{Authorization, Host};
use crate::transport::Lane;

/// How long a registry may take. What it would say is no more than a guess at a better answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Asks without credentials: whether one is welcome so, and what is asked for. Also who is welcome may be told (RFC 9110,
/// section 11.6.1). `None` if there is no answer.
pub(crate) async fn ping(host: &Host) -> Option<(bool, Option<Challenge>)> {
    let url = host.url("").await.ok()?;
    let client = host.shared.transport.client(Lane::Api, &url, host.sender(&url)).ok()?;
    let headers = host.own_headers(&url, &Authorization::Unasked);
    let request = client.get(url).headers(headers).build().ok()?;
    let answer = tokio::time::timeout(PATIENCE, host.exchange(&client, request)).await.ok()?.ok()?;
    Some((answer.status().is_success(), Challenge::of(answer.headers())))
}
