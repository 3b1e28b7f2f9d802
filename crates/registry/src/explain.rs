//! What the body of an error says. The distribution specification has a list of codes and messages ("Error Codes"); what
//! is met beside it: Quay's and GitLab's own JSON, problem details (RFC 9457), Spring's, OAuth2's (RFC 6749, section 5.2),
//! the XML of object storage, plain text, and pages for browsers.

use serde_json::{Map, Value};

use crate::error::RegistryError;
use crate::redact::printable;

/// The longest text of a registry that is printed, in characters.
const LONGEST: usize = 500;

/// How many errors of a list are told. The first few say it; a line is for one screen.
const MOST: usize = 5;

/// The list of errors, or else the text, without line ends and what steers a terminal.
pub(crate) fn explain(body: &[u8]) -> (Vec<RegistryError>, String) {
    let text = String::from_utf8_lossy(body);
    let text = text.trim();
    match serde_json::from_slice(body) {
        Ok(Value::Object(document)) => {
            let errors = document.get("errors").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            let errors: Vec<RegistryError> = errors.iter().filter_map(listed).take(MOST).collect();
            let text = if errors.is_empty() { short(&words(&document)) } else { String::new() };
            (errors, text)
        }
        Ok(Value::String(text)) => (Vec::new(), short(&text)),
        // Any other JSON says nothing that a person could read.
        Ok(_) => (Vec::new(), String::new()),
        Err(_) if text.starts_with('<') => (Vec::new(), short(&of_storage(text).unwrap_or_default())),
        Err(_) => (Vec::new(), short(text.lines().next().unwrap_or_default())),
    }
}

/// One entry of the list, if it says anything.
fn listed(entry: &Value) -> Option<RegistryError> {
    let (code, message) = match entry {
        Value::String(message) => (String::new(), message.clone()),
        Value::Object(entry) => {
            let code = entry.get("code").map(said).unwrap_or_default();
            let message = entry.get("message").map(said).unwrap_or_default();
            // Some say in the detail what should be in the message.
            let detail = entry.get("detail").and_then(Value::as_str).unwrap_or_default();
            (code, joined([message.as_str(), detail]))
        }
        _ => return None,
    };
    let says = !code.is_empty() || !message.is_empty();
    says.then(|| RegistryError { code: short(&code), message: short(&message) })
}

/// What a document says that has no list: the headline, then what explains it.
fn words(document: &Map<String, Value>) -> String {
    const HEADLINES: [&str; 2] = ["error", "title"];
    const EXPLANATIONS: [&str; 5] = ["message", "error_message", "error_description", "detail", "details"];
    let first = |names: &[&str]| {
        let mut found = names.iter().filter_map(|name| document.get(*name)).map(said);
        found.find(|text| !text.is_empty()).unwrap_or_default()
    };
    joined([first(&HEADLINES).as_str(), first(&EXPLANATIONS).as_str()])
}

/// A value as words; an object that is an error itself says its own.
fn said(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Object(inner) => joined(
            ["code", "message"].map(|name| inner.get(name).and_then(Value::as_str).unwrap_or_default()),
        ),
        _ => String::new(),
    }
}

/// Both texts, or one where the other adds nothing.
fn joined([first, second]: [&str; 2]) -> String {
    if second.is_empty() || first.contains(second) {
        first.to_owned()
    } else if second.contains(first) {
        second.to_owned()
    } else {
        format!("{first}: {second}")
    }
}

/// Code and message of an error in XML, as S3 and what speaks like it has them. Other pages are for browsers.
fn of_storage(text: &str) -> Option<String> {
    let (_, error) = text.split_once("<Error>")?;
    let element = |name: &str| {
        let (_, inner) = error.split_once(&format!("<{name}>"))?;
        inner.split_once("</").map(|(inner, _)| inner.trim())
    };
    Some(joined([element("Code").unwrap_or_default(), element("Message").unwrap_or_default()]))
}

fn short(text: &str) -> String {
    // A line end within a message separates words.
    let line: String =
        text.chars().map(|character| if character == '\n' { ' ' } else { character }).collect();
    printable(line.trim()).chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bodies_of_the_field() {
        let storage = "<?xml version=\"1.0\"?>\n<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>";
        for (body, expected) in [
            // Harbor.
            (
                r#"{"errors":[{"code":"UNAUTHORIZED","message":"unauthorized to access repository: a/b, action: push: unauthorized to access repository: a/b, action: push"}]}"#,
                "UNAUTHORIZED|unauthorized to access repository: a/b, action: push: unauthorized to access repository: a/b, action: push",
            ),
            // Quay, the registry and the rest.
            (r#"{"error":"Invalid bearer token format"}"#, "Invalid bearer token format"),
            (
                r#"{"status":401,"error_message":"Requires authentication","title":"invalid_token","error_type":"invalid_token","detail":"Requires authentication"}"#,
                "invalid_token: Requires authentication",
            ),
            // Artifactory, Spring.
            (r#"{"errors":[{"status":404,"message":"File not found."}]}"#, "|File not found."),
            (
                r#"{"status":404,"error":"Not Found","message":"No message","path":"/v2/"}"#,
                "Not Found: No message",
            ),
            // GitLab, OAuth2, Docker Hub's token server, problem details.
            (r#"{"message":"403 Forbidden"}"#, "403 Forbidden"),
            (
                r#"{"error":"invalid_grant","error_description":"token expired"}"#,
                "invalid_grant: token expired",
            ),
            (r#"{"details":"incorrect username or password"}"#, "incorrect username or password"),
            (
                r#"{"type":"about:blank","title":"Forbidden","detail":"no push here"}"#,
                "Forbidden: no push here",
            ),
            (r#"{"error":{"code":"quota","message":"too much"}}"#, "quota: too much"),
            // Variations of the specification's.
            (
                r#"{"errors":[{"code":"DENIED","message":"no","detail":"read only mode"}]}"#,
                "DENIED|no: read only mode",
            ),
            (r#"{"errors":[{"code":"DENIED","message":"no","detail":{"Name":"a"}}]}"#, "DENIED|no"),
            (
                r#"{"errors":[{"code":403,"message":null,"detail":"no"}, "also no", 7, {}]}"#,
                "403|no;|also no",
            ),
            (r#"{"errors":null}"#, ""),
            (r#"{"errors":null,"message":"gone"}"#, "gone"),
            (r#"{"errors":[]}"#, ""),
            (r#"{"errors":[{"message":"two\nlines\u001b[31m"}]}"#, "|two lines[31m"),
            (storage, "AccessDenied: Request has expired"),
            ("<html><title>401</title>", ""),
            ("\n 404 page not found\nnginx", "404 page not found"),
            ("\"quoted\"", "quoted"),
            ("[1]", ""),
            ("", ""),
        ] {
            let (errors, text) = explain(body.as_bytes());
            let errors: Vec<String> =
                errors.iter().map(|error| format!("{}|{}", error.code, error.message)).collect();
            assert_eq!(format!("{}{text}", errors.join(";")), expected, "{body}");
        }
    }

    proptest! {
        #[test]
        fn always_one_short_line(body in "[ -~\n\u{e9}]{0,80}") {
            let (errors, text) = explain(body.as_bytes());
            let told = errors.iter().flat_map(|error| [&error.code, &error.message]).chain([&text]);
            for text in told {
                prop_assert!(!text.contains(char::is_control) && text.chars().count() <= LONGEST);
            }
        }
    }
}
