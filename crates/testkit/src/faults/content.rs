//! What the registry with faults stores, and how it answers when nothing goes wrong.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::images::{Graph, digest_like};
use crate::wire::Request;

/// A repository, and a tag or digest in it.
type Name = (String, String);

/// A manifest: its media type and its bytes.
type Manifest = (String, Arc<[u8]>);

/// Everything stored.
#[derive(Debug, Default)]
pub(super) struct Content {
    manifests: BTreeMap<Name, Manifest>,
    blobs: BTreeMap<Name, Arc<[u8]>>,
    uploads: BTreeMap<String, Vec<u8>>,
    started: u64,
}

/// An answer before anything goes wrong with it.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Arc<[u8]>,
}

impl Response {
    pub(super) fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Arc::from([]) }
    }

    fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    fn body(mut self, bytes: impl Into<Arc<[u8]>>) -> Self {
        self.body = bytes.into();
        self
    }

    fn error(status: u16, code: &str) -> Self {
        let body = serde_json::json!({"errors": [{"code": code, "message": code.to_lowercase()}]});
        Self::new(status).header("Content-Type", "application/json").body(body.to_string().into_bytes())
    }
}

impl Content {
    pub(super) fn put(&mut self, repository: &str, tag: &str, graph: &Graph) {
        graph.visit(&mut |graph| {
            for blob in &graph.blobs {
                self.put_blob(repository, &blob.digest, &blob.bytes);
            }
            let manifest = &graph.manifest;
            self.put_manifest(repository, &manifest.digest, &manifest.media_type, &manifest.bytes);
        });
        self.put_manifest(repository, tag, &graph.manifest.media_type, &graph.manifest.bytes);
    }

    pub(super) fn put_manifest(&mut self, repository: &str, reference: &str, media_type: &str, bytes: &[u8]) {
        self.manifests.insert(name(repository, reference), (media_type.to_owned(), Arc::from(bytes)));
    }

    pub(super) fn put_blob(&mut self, repository: &str, digest: &str, bytes: &[u8]) {
        self.blobs.insert(name(repository, digest), Arc::from(bytes));
    }

    pub(super) fn manifest(&self, repository: &str, reference: &str) -> Option<&Manifest> {
        self.manifests.get(&name(repository, reference))
    }

    pub(super) fn blob(&self, repository: &str, digest: &str) -> Option<&Arc<[u8]>> {
        self.blobs.get(&name(repository, digest))
    }

    /// The upload that the request's body belongs to.
    pub(super) fn begin(&mut self, request: &Request) -> Option<String> {
        let (_, id) = request.path.split_once("/blobs/uploads/")?;
        let wanted = matches!(request.method.as_str(), "PATCH" | "PUT") && self.uploads.contains_key(id);
        wanted.then(|| id.to_owned())
    }

    /// Keeps what came of an upload.
    pub(super) fn receive(&mut self, upload: Option<&str>, bytes: &[u8]) {
        if let Some(upload) = upload.and_then(|id| self.uploads.get_mut(id)) {
            upload.extend_from_slice(bytes);
        }
    }

    /// Answers a request whose body has been read (and kept, if it belonged to an upload).
    pub(super) fn respond(&mut self, request: &Request, body: &[u8], ignore_ranges: bool) -> Response {
        let path = request.path.trim_start_matches("/v2/");
        if request.path == "/v2/" {
            return Response::new(200).body(*b"{}");
        }
        if path == "_catalog" {
            return self.catalog(request);
        }
        if let Some(repository) = path.strip_suffix("/tags/list") {
            return self.tags(request, repository);
        }
        if let Some((repository, id)) = path.split_once("/blobs/uploads/") {
            return self.upload(request, repository, id, body);
        }
        if let Some((repository, digest)) = path.split_once("/blobs/") {
            return self.answer_blob(request, repository, digest, ignore_ranges);
        }
        if let Some((repository, reference)) = path.split_once("/manifests/") {
            return self.answer_manifest(request, repository, reference, body);
        }
        Response::error(404, "NOT_FOUND")
    }

    fn answer_manifest(
        &mut self,
        request: &Request,
        repository: &str,
        reference: &str,
        body: &[u8],
    ) -> Response {
        match request.method.as_str() {
            "GET" | "HEAD" => match self.manifest(repository, reference) {
                Some((media_type, bytes)) => Response::new(200)
                    .header("Content-Type", media_type)
                    .header("Docker-Content-Digest", digest_like(reference, bytes))
                    .body(Arc::clone(bytes)),
                None => Response::error(404, "MANIFEST_UNKNOWN"),
            },
            "PUT" => {
                let media_type = request.header("content-type").unwrap_or_default();
                let digest = digest_like(reference, body);
                self.put_manifest(repository, reference, media_type, body);
                self.put_manifest(repository, &digest, media_type, body);
                Response::new(201)
                    .header("Location", format!("/v2/{repository}/manifests/{digest}"))
                    .header("Docker-Content-Digest", digest)
            }
            "DELETE" => match self.manifests.remove(&name(repository, reference)) {
                Some((_, bytes)) => {
                    // With a digest go its tags.
                    if reference.contains(':') {
                        self.manifests.retain(|(other, _), (_, same)| other != repository || *same != bytes);
                    }
                    Response::new(202)
                }
                None => Response::error(404, "MANIFEST_UNKNOWN"),
            },
            _ => Response::error(405, "UNSUPPORTED"),
        }
    }

    fn answer_blob(
        &self,
        request: &Request,
        repository: &str,
        digest: &str,
        ignore_ranges: bool,
    ) -> Response {
        if !matches!(request.method.as_str(), "GET" | "HEAD") {
            return Response::error(405, "UNSUPPORTED");
        }
        let Some(bytes) = self.blob(repository, digest) else { return Response::error(404, "BLOB_UNKNOWN") };
        let response = |status| {
            Response::new(status)
                .header("Content-Type", "application/octet-stream")
                .header("Docker-Content-Digest", digest)
        };
        let range = request.header("range").filter(|_| !ignore_ranges);
        let Some(range) = range.and_then(|value| value.strip_prefix("bytes=")?.split_once('-')) else {
            return response(200).header("Accept-Ranges", "bytes").body(Arc::clone(bytes));
        };
        let first: usize = range.0.parse().unwrap_or(usize::MAX);
        let last = range.1.parse().unwrap_or(usize::MAX).min(bytes.len().saturating_sub(1));
        match bytes.get(first..=last).filter(|part| !part.is_empty()) {
            Some(part) => response(206)
                .header("Content-Range", format!("bytes {first}-{last}/{}", bytes.len()))
                .body(part),
            None => Response::new(416).header("Content-Range", format!("bytes */{}", bytes.len())),
        }
    }

    fn upload(&mut self, request: &Request, repository: &str, id: &str, body: &[u8]) -> Response {
        let digest = request.parameters("digest").pop();
        if request.method == "POST" {
            let (mount, from) = (request.parameters("mount").pop(), request.parameters("from").pop());
            let mounted =
                mount.as_ref().zip(from).and_then(|(digest, from)| self.blob(&from, digest).cloned());
            if let Some((digest, bytes)) = mount.zip(mounted) {
                return self.created(repository, &digest, &bytes);
            }
            if let Some(digest) = digest {
                return self.created(repository, &digest, body);
            }
            self.started += 1;
            let id = self.started.to_string();
            self.uploads.insert(id.clone(), Vec::new());
            return progress(202, repository, &id, 0);
        }
        let Some(received) = self.uploads.get(id).map(Vec::len) else {
            return Response::error(404, "BLOB_UPLOAD_UNKNOWN");
        };
        match (request.method.as_str(), digest) {
            ("GET", _) => progress(204, repository, id, received),
            ("PATCH", _) => {
                let before = received - body.len();
                let expected =
                    request.header("content-range").and_then(|range| range.split('-').next()?.parse().ok());
                if expected.is_some_and(|first: usize| first != before) {
                    if let Some(upload) = self.uploads.get_mut(id) {
                        upload.truncate(before);
                    }
                    return progress(416, repository, id, before);
                }
                progress(202, repository, id, received)
            }
            ("PUT", Some(digest)) => {
                let bytes = self.uploads.remove(id).unwrap_or_default();
                if digest_like(&digest, &bytes) != digest {
                    return Response::error(400, "DIGEST_INVALID");
                }
                self.created(repository, &digest, &bytes)
            }
            ("DELETE", _) => {
                self.uploads.remove(id);
                Response::new(204)
            }
            _ => Response::error(405, "UNSUPPORTED"),
        }
    }

    fn created(&mut self, repository: &str, digest: &str, bytes: &[u8]) -> Response {
        self.put_blob(repository, digest, bytes);
        Response::new(201)
            .header("Location", format!("/v2/{repository}/blobs/{digest}"))
            .header("Docker-Content-Digest", digest)
    }

    fn tags(&self, request: &Request, repository: &str) -> Response {
        let names = self.manifests.keys().filter(|(name, _)| name == repository);
        let tags: Vec<&str> =
            names.map(|(_, reference)| reference.as_str()).filter(|tag| !tag.contains(':')).collect();
        if !self.manifests.keys().any(|(name, _)| name == repository) {
            return Response::error(404, "NAME_UNKNOWN");
        }
        page(request, &tags, |page| serde_json::json!({"name": repository, "tags": page}))
    }

    fn catalog(&self, request: &Request) -> Response {
        let mut names: Vec<&str> = self.manifests.keys().map(|(name, _)| name.as_str()).collect();
        names.dedup();
        page(request, &names, |page| serde_json::json!({"repositories": page}))
    }
}

fn name(repository: &str, reference: &str) -> Name {
    (repository.to_owned(), reference.to_owned())
}

/// How far an upload is. `Range` names the last byte, which an empty upload does not have: like docker-registry, `0-0`.
fn progress(status: u16, repository: &str, id: &str, received: usize) -> Response {
    Response::new(status)
        .header("Location", format!("/v2/{repository}/blobs/uploads/{id}"))
        .header("Range", format!("0-{}", received.saturating_sub(1)))
        .header("Docker-Upload-UUID", id)
}

/// One page of a sorted list, with a relative link to the next.
fn page(request: &Request, all: &[&str], body: impl Fn(&[&str]) -> serde_json::Value) -> Response {
    let last = request.parameters("last").pop().unwrap_or_default();
    let limit = request.parameters("n").pop().and_then(|n| n.parse().ok()).unwrap_or(usize::MAX);
    let rest = &all[all.partition_point(|name| *name <= last.as_str())..];
    let page = &rest[..rest.len().min(limit)];
    let response = Response::new(200).header("Content-Type", "application/json");
    let response = response.body(body(page).to_string().into_bytes());
    match page.last() {
        Some(last) if page.len() < rest.len() => {
            response.header("Link", format!("<{}?n={limit}&last={last}>; rel=\"next\"", request.path))
        }
        _ => response,
    }
}
