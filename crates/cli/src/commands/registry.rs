use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use server::{Access, Server, Storage};

use crate::context::Context;
use crate::failure::Failure;

/// Serve a registry
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Serve(Serve),
}

/// Serve a registry from a folder, or from a temporary one that is gone afterwards
///
/// Pull, push, mount, delete, tags, catalog and referrers. What was acknowledged is on disk. Without --address it
/// listens on all of the machine's addresses, at the port that $PORT names, or a free one.
#[derive(Debug, clap::Args)]
struct Serve {
    /// Where to listen, such as `127.0.0.1:5000` or `localhost:5000`; `:5000` is all addresses
    #[arg(long, default_value = "", hide_default_value = true)]
    address: String,
    /// The folder that keeps everything
    #[arg(long, value_name = "DIR", default_value = "", hide_default_value = true)]
    disk: String,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    let Command::Serve(args) = args.command;
    let root = if args.disk.is_empty() { context.temporary_folder()? } else { args.disk.into() };
    let storage = Storage::open(&root)?;
    let server = bind(&candidates(&args.address)?, storage).await?;
    context.ui.log(&format!("storing blobs in {}", root.display()));
    context.ui.log(&format!("serving on port {}", server.local_addr().port()));
    let ui = context.ui.clone();
    server.observe(move |access| ui.log(&line(access))).serve(std::future::pending()).await;
    Ok(())
}

/// Listens on the first address that can be had.
async fn bind(candidates: &[SocketAddr], storage: Storage) -> Result<Server, Failure> {
    let mut failure = Failure::new("there is no address to listen on");
    for address in candidates {
        match Server::bind(*address, storage.clone()).await {
            Ok(server) => return Ok(server),
            Err(error) => failure = error.into(),
        }
    }
    Err(failure)
}

/// What `--address` means, or `$PORT` without it.
fn candidates(address: &str) -> Result<Vec<SocketAddr>, Failure> {
    if address.is_empty() {
        let port = std::env::var("PORT").unwrap_or_default();
        let port = if port.is_empty() { Some(0) } else { port.parse().ok() };
        return port.map(everywhere).ok_or_else(|| Failure::new("$PORT is no port"));
    }
    parse(address).ok_or_else(|| {
        Failure::new(format_args!("{address:?} is no address to listen on"))
            .hint("write 127.0.0.1:5000, [::1]:5000, localhost:5000, or :5000 for all addresses")
    })
}

/// All addresses of both families, or of IPv4 where the machine has no IPv6.
fn everywhere(port: u16) -> Vec<SocketAddr> {
    vec![(Ipv6Addr::UNSPECIFIED, port).into(), (Ipv4Addr::UNSPECIFIED, port).into()]
}

fn parse(address: &str) -> Option<Vec<SocketAddr>> {
    if let Ok(address) = address.parse() {
        return Some(vec![address]);
    }
    let (host, port) = address.rsplit_once(':')?;
    let port = port.parse().ok()?;
    match host {
        "" => Some(everywhere(port)),
        "localhost" => Some(vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]),
        _ => None,
    }
}

/// One request, as crane's registry logs it.
fn line(access: &Access) -> String {
    let error = access.error.as_ref().map(|(code, message)| format!(" {code} {message}"));
    format!("{} {} {}{}", access.method, access.path, access.status.as_u16(), error.unwrap_or_default())
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
            let first = parse(text).map(|candidates| candidates[0].to_string());
            assert_eq!(first.as_deref(), expected, "{text}");
        }
    }
}
