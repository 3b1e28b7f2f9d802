//! A session with a registry, for real: what is printed is what was run.

mod picture;
mod stage;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use server::{Server, Storage};

use crate::context::Context;
use crate::failure::Failure;
use stage::Stage;

/// Runs the session; with `keep`, the registries stay until a signal ends them.
pub(crate) async fn run(context: &Context, keep: bool) -> Result<(), Failure> {
    let folder = context.temporary_folder()?;
    let here = beside(&folder.join("here")).await?.to_string();
    let there = beside(&folder.join("there")).await?.to_string();
    let mut quiet = context.anonymous();
    quiet.settings.platforms = Vec::new();
    // These registries are never seen again.
    quiet.settings.root = None;
    picture::push(&quiet, &here).await?;

    let stage = Stage::new(&quiet, &context.ui);
    let image = format!("{here}/web:1.1");
    stage.say(&format!(
        "Two registries run on this machine: {here} and {there}.\nWhich tags does the repository have?"
    ))?;
    stage.show(&format!("hoist ls {here}/web")).await?;
    stage.say("What lies behind a tag: an index, with an image for each platform.")?;
    stage.show(&format!("hoist manifest {image}")).await?;
    stage.say("The digest that an arm64 host pulls.")?;
    stage.show(&format!("hoist digest --platform linux/arm64 {image}")).await?;
    stage.say("What is in it: six layers merged into one file system, without a container runtime.")?;
    stage.show_listing(&format!("hoist export {image} -")).await?;
    stage.say("Copy it within the registry: every platform, and the blobs are mounted rather than moved.")?;
    stage.show(&format!("hoist cp {image} {here}/team/web")).await?;
    stage.say("Copy it to the other registry.")?;
    stage.show(&format!("hoist cp {image} {there}/web:1.1")).await?;
    stage.say("The proof: both registries hold the same bytes under this name.")?;
    stage.show_diff(&format!("hoist manifest {image}"), &format!("hoist manifest {there}/web:1.1")).await?;
    if keep {
        stage.say(&format!(
            "Both registries keep running. Try the commands above in another terminal, or:\n  \
             hoist config --platform linux/s390x {image}\n  \
             hoist tag {image} stable\n\
             Ctrl-C ends them, and removes {}.",
            folder.display()
        ))?;
        std::future::pending::<()>().await;
    }
    stage.say(
        "Nothing is left behind. Next:\n  \
         hoist tour --keep                     the same, and the registries stay for you to play with\n  \
         hoist ls nginx                        the same verbs with any registry\n  \
         hoist registry serve --disk DIR       a registry of your own\n  \
         hoist --help                          all verbs",
    )
}

/// Runs a registry beside the tour, on a free port of this machine.
async fn beside(root: &Path) -> Result<SocketAddr, Failure> {
    let server = Server::bind((Ipv4Addr::LOCALHOST, 0).into(), Storage::open(root)?).await?;
    let address = server.local_addr();
    tokio::spawn(server.serve(std::future::pending()));
    Ok(address)
}
