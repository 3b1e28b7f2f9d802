use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use server::{Access, Server, Storage};

use crate::context::Context;
use crate::failure::Failure;

/// Serve a registry
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    Serve(Serve),
}

/// Serve a registry from a folder, or from a temporary one that is gone afterwards
///
/// Pull, push, mount, delete, tags, catalog and referrers. What was acknowledged is on disk. Without --address it
/// listens on all of the machine's addresses, at the port that $PORT names, or a free one.
#[derive(Debug, clap::Args)]
pub(crate) struct Serve {
    /// Where to listen, such as 127.0.0.1:5000
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) address: String,
    /// The folder that keeps everything
    #[arg(long, value_name = "DIR", default_value = "", hide_default_value = true)]
    pub(crate) disk: PathBuf,
}

pub(crate) async fn run(context: &Context, command: Command) -> Result<(), Failure> {
    let Command::Serve(args) = command;
    // Removed when this ends, also by a signal.
    let temporary = if args.disk.as_os_str().is_empty() { Some(temporary_folder()?) } else { None };
    let root = temporary.as_ref().map_or(args.disk.as_path(), tempfile::TempDir::path);
    let storage = Storage::open(root)?;
    let server = bind(&args.address, storage).await?;
    context.ui.log(&format!("storing blobs in {}", root.display()));
    context.ui.log(&format!("serving on port {}", server.local_addr().port()));
    let ui = context.ui.clone();
    server.observe(move |access| ui.log(&line(access))).serve(std::future::pending()).await;
    Ok(())
}

pub(crate) fn temporary_folder() -> Result<tempfile::TempDir, Failure> {
    tempfile::Builder::new()
        .prefix("hoist-")
        .tempdir()
        .map_err(|error| Failure::new(format_args!("making a temporary folder: {error}")))
}

async fn bind(address: &str, storage: Storage) -> Result<Server, Failure> {
    if !address.is_empty() {
        let address = parse(address).ok_or_else(|| {
            Failure::new(format_args!("{address:?} is no address to listen on"))
                .hint("write HOST:PORT, such as 127.0.0.1:5000 or :5000")
        })?;
        return Ok(Server::bind(address, storage).await?);
    }
    let port = match std::env::var("PORT") {
        Ok(text) if !text.is_empty() => {
            text.parse().map_err(|_| Failure::new(format_args!("$PORT is {text:?}, which is no port")))?
        }
        _ => 0,
    };
    // All addresses of both families, or of IPv4 where the machine has no IPv6.
    let everywhere = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port);
    match Server::bind(everywhere, storage.clone()).await {
        Ok(server) => Ok(server),
        Err(_) => Ok(Server::bind((Ipv4Addr::UNSPECIFIED, port).into(), storage).await?),
    }
}

/// `host:port`; without a host all addresses, and `localhost` is this machine.
fn parse(address: &str) -> Option<SocketAddr> {
    if let Ok(address) = address.parse() {
        return Some(address);
    }
    let (host, port) = address.rsplit_once(':')?;
    let host = match host {
        "" => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        _ => return None,
    };
    Some(SocketAddr::new(host, port.parse().ok()?))
}

/// One request, as crane's registry logs it.
fn line(access: &Access) -> String {
    let error = access.error.as_ref().map(|(code, message)| format!(" {code} {message}"));
    format!("{} {} {}{}", access.method, access.path, access.status.as_u16(), error.unwrap_or_default())
}

/// Runs a registry beside a command, on a free port of this machine.
pub(crate) async fn beside(root: &std::path::Path) -> Result<SocketAddr, Failure> {
    let server = Server::bind((Ipv4Addr::LOCALHOST, 0).into(), Storage::open(root)?).await?;
    let address = server.local_addr();
    tokio::spawn(server.serve(std::future::pending()));
    Ok(address)
}

impl From<server::Error> for Failure {
    fn from(error: server::Error) -> Self {
        Self::new(error)
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn addresses() {
        for (text, expected) in [
            ("127.0.0.1:5000", Some("127.0.0.1:5000")),
            ("[::1]:5000", Some("[::1]:5000")),
            (":5000", Some("[::]:5000")),
            ("localhost:0", Some("127.0.0.1:0")),
            ("5000", None),
            ("example.com:5000", None),
            ("localhost:x", None),
        ] {
            assert_eq!(parse(text).map(|address| address.to_string()).as_deref(), expected, "{text}");
        }
    }
}
