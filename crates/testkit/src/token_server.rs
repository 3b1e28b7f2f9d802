//! A token server, as docker-registry's `auth.token` expects one.
//!
//! <https://distribution.github.io/distribution/spec/auth/token/> and `.../oauth/`.

use std::collections::BTreeMap;
use std::io::{BufReader, Read, Write};
use std::net::{IpAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rustls::ServerConfig;
use serde_json::{Value, json};

use crate::certificate::Signer;
use crate::http;
use crate::listener::{self, LOOPBACK, Listener};
use crate::wire::{self, Body, Request};
use crate::{Certificate, lock};

/// Gives signed tokens to one user, and to anybody who may pull without a name.
#[derive(Debug)]
pub struct TokenServer {
    listener: Listener,
    state: Arc<State>,
    scheme: &'static str,
}

#[derive(Debug)]
struct State {
    user: String,
    password: String,
    signer: Signer,
    rules: Mutex<Rules>,
    requests: Mutex<Vec<Request>>,
}

#[derive(Clone, Copy, Debug)]
struct Rules {
    anonymous_pull: bool,
    pull_only: bool,
    expires_in: Duration,
}

impl TokenServer {
    /// The service that tokens are for (`aud`).
    pub const SERVICE: &str = "hoist-tests";
    /// Who signs the tokens (`iss`).
    pub const ISSUER: &str = "hoist-token-server";

    /// Starts a server that knows one user; nobody may do anything without a name, and tokens last five minutes.
    pub fn start(user: &str, password: &str) -> Self {
        Self::listen(LOOPBACK, None, user, password)
    }

    /// The same, on this address.
    pub fn at(ip: &str, user: &str, password: &str) -> Self {
        Self::listen(listener::ip(ip), None, user, password)
    }

    /// The same, on this address over HTTPS, with this certificate.
    pub fn tls_at(ip: &str, certificate: &Certificate, user: &str, password: &str) -> Self {
        Self::listen(listener::ip(ip), Some(certificate), user, password)
    }

    fn listen(ip: IpAddr, certificate: Option<&Certificate>, user: &str, password: &str) -> Self {
        let state = Arc::new(State {
            user: user.to_owned(),
            password: password.to_owned(),
            signer: Signer::new(),
            rules: Mutex::new(Rules {
                anonymous_pull: false,
                pull_only: false,
                expires_in: Duration::from_mins(5),
            }),
            requests: Mutex::default(),
        });
        let tls = certificate.map(Certificate::serving);
        let scheme = if tls.is_some() { "https" } else { "http" };
        let listener = Listener::start(ip, {
            let state = Arc::clone(&state);
            move |stream| state.serve(stream, tls.as_ref())
        });
        Self { listener, state, scheme }
    }

    /// Anybody may pull.
    #[must_use]
    pub fn anonymous_pull(self) -> Self {
        lock(&self.state.rules).anonymous_pull = true;
        self
    }

    /// The user gets tokens to pull, whatever they ask for.
    #[must_use]
    pub fn pull_only(self) -> Self {
        lock(&self.state.rules).pull_only = true;
        self
    }

    /// How long the tokens are good that are given from now on. docker-registry takes them for a minute more.
    pub fn set_expires_in(&self, expires_in: Duration) {
        lock(&self.state.rules).expires_in = expires_in;
    }

    /// Where tokens are asked for.
    pub fn realm(&self) -> String {
        format!("{}://{}/token", self.scheme, self.listener.address())
    }

    /// A challenge that sends a client here.
    pub fn challenge(&self, scope: &str) -> String {
        format!(r#"Bearer realm="{}",service="{}",scope="{scope}""#, self.realm(), Self::SERVICE)
    }

    /// The certificate of the key that signs, PEM (`rootcertbundle`).
    pub(crate) fn certificate(&self) -> String {
        self.state.signer.pem()
    }

    /// A token for `scope`, for whatever actions it names.
    pub fn issue(&self, scope: &str) -> String {
        self.state.token(&self.state.user, &access([scope], |_| true))
    }

    /// The requests for tokens, in order.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.state.requests).clone()
    }
}

/// Who asks.
enum Caller {
    User,
    Nobody,
    Impostor,
}

impl State {
    fn serve(&self, stream: TcpStream, tls: Option<&Arc<ServerConfig>>) {
        let Some(stream) = http::accept(stream, tls) else { return };
        let mut reader = BufReader::new(stream);
        while let Ok(Some(request)) = wire::read_request(&mut reader) {
            let mut form = String::new();
            if Body::of_request(&request.headers, &mut reader).read_to_string(&mut form).is_err() {
                return;
            }
            let (status, body) = self.answer(&request, &form);
            lock(&self.requests).push(request);
            let body = body.to_string();
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            let stream = reader.get_mut();
            if stream.write_all((head + &body).as_bytes()).and_then(|()| stream.flush()).is_err() {
                return;
            }
        }
    }

    fn answer(&self, request: &Request, form: &str) -> (&'static str, Value) {
        let Rules { anonymous_pull, pull_only, expires_in } = *lock(&self.rules);
        let (caller, scopes) = match request.method.as_str() {
            "GET" => (self.basic(request), request.parameters("scope")),
            "POST" => {
                let scopes = wire::parameters(form, "scope");
                (
                    self.grant(form),
                    scopes.iter().flat_map(|scope| scope.split(' ')).map(str::to_owned).collect(),
                )
            }
            _ => return ("405 Method Not Allowed", json!({})),
        };
        let (subject, all) = match caller {
            Caller::User => (self.user.as_str(), true),
            Caller::Nobody => ("", false),
            Caller::Impostor => {
                let error = json!({"code": "UNAUTHORIZED", "message": "wrong user name or password"});
                return ("401 Unauthorized", json!({"errors": [error]}));
            }
        };
        let scopes = scopes.iter().map(String::as_str);
        let access = access(scopes, |action| match action {
            "pull" => all || anonymous_pull,
            _ => all && !pull_only,
        });
        let token = self.token(subject, &access);
        let mut answer = json!({"token": token, "access_token": token, "expires_in": expires_in.as_secs()});
        let wants_refresh = wire::parameters(form, "access_type") == ["offline"]
            || request.parameters("offline_token") == ["true"];
        if all && wants_refresh {
            answer["refresh_token"] = json!(self.refresh_token());
        }
        ("200 OK", answer)
    }

    fn basic(&self, request: &Request) -> Caller {
        match request.header("authorization") {
            None => Caller::Nobody,
            Some(value) if value == basic(&self.user, &self.password) => Caller::User,
            Some(_) => Caller::Impostor,
        }
    }

    fn grant(&self, form: &str) -> Caller {
        let is = |name, value: &str| wire::parameters(form, name) == [value];
        let right =
            (is("grant_type", "password") && is("username", &self.user) && is("password", &self.password))
                || (is("grant_type", "refresh_token") && is("refresh_token", &self.refresh_token()));
        if right { Caller::User } else { Caller::Impostor }
    }

    fn refresh_token(&self) -> String {
        format!("refresh-{}", self.user)
    }

    fn token(&self, subject: &str, access: &Value) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let head = json!({"typ": "JWT", "alg": "ES256", "x5c": [STANDARD.encode(self.signer.der())]});
        let claims = json!({
            "iss": TokenServer::ISSUER, "sub": subject, "aud": TokenServer::SERVICE,
            "iat": now, "nbf": now - 10, "exp": now + lock(&self.rules).expires_in.as_secs(),
            "access": access,
        });
        let [head, claims] = [head, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let signature = URL_SAFE_NO_PAD.encode(self.signer.sign(format!("{head}.{claims}").as_bytes()));
        format!("{head}.{claims}.{signature}")
    }
}

/// The `Authorization` of a user.
pub(crate) fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// What scopes (`repository:NAME:ACTION,ACTION`) ask for, without the actions that are not allowed.
fn access<'a>(scopes: impl IntoIterator<Item = &'a str>, allowed: impl Fn(&str) -> bool) -> Value {
    let mut resources: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for scope in scopes {
        // The name may have a port in it.
        let Some((kind, rest)) = scope.split_once(':') else { continue };
        let Some((name, actions)) = rest.rsplit_once(':') else { continue };
        let granted = actions.split(',').filter(|action| allowed(action));
        resources.entry((kind, name)).or_default().extend(granted);
    }
    let entry = |((kind, name), actions)| json!({"type": kind, "name": name, "actions": actions});
    resources.into_iter().filter(|(_, actions)| !actions.is_empty()).map(entry).collect()
}
