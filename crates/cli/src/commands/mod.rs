//! The verbs, one file each: arguments, one call of the library, and what is printed.

pub(crate) mod append;
pub(crate) mod auth;
pub(crate) mod blob;
pub(crate) mod cache;
pub(crate) mod cat;
pub(crate) mod catalog;
pub(crate) mod completion;
pub(crate) mod config;
pub(crate) mod copy;
pub(crate) mod delete;
pub(crate) mod diff;
pub(crate) mod digest;
pub(crate) mod doctor;
pub(crate) mod edit;
pub(crate) mod export;
pub(crate) mod extract;
pub(crate) mod files;
pub(crate) mod find;
pub(crate) mod flatten;
pub(crate) mod grep;
pub(crate) mod history;
pub(crate) mod index;
pub(crate) mod layout;
pub(crate) mod ls;
pub(crate) mod man;
pub(crate) mod manifest;
pub(crate) mod mutate;
pub(crate) mod pull;
pub(crate) mod push;
pub(crate) mod ratelimit;
pub(crate) mod rebase;
pub(crate) mod referrers;
pub(crate) mod registry;
pub(crate) mod tag;
pub(crate) mod toc;
pub(crate) mod tour;
pub(crate) mod validate;
pub(crate) mod version;
pub(crate) mod why;

use crate::args::Command;
use crate::context::Context;
use crate::failure::Failure;

/// Runs one verb.
pub(crate) async fn run(command: Command, context: &Context) -> Result<(), Failure> {
    match command {
        Command::Append(args) => append::run(context, *args).await,
        Command::Auth(args) => auth::run(context, args).await,
        Command::Blob(args) => blob::run(context, args).await,
        Command::Cache(args) => cache::run(context, args).await,
        Command::Cat(args) => cat::run(context, args).await,
        Command::Catalog(args) => catalog::run(context, args).await,
        Command::Complete(request) => completion::complete(context, request).await,
        Command::Completion(args) => completion::run(&context.ui, &args),
        Command::Config(args) => config::run(context, args).await,
        Command::Copy(args) => copy::run(context, *args).await,
        Command::Delete(args) => delete::run(context, args).await,
        Command::Diff(args) => diff::run(context, args).await,
        Command::Digest(args) => digest::run(context, args).await,
        Command::Doctor(args) => doctor::run(context, args).await,
        Command::Edit(args) => edit::run(context, args).await,
        Command::Export(args) => export::run(context, args).await,
        Command::Extract(args) => extract::run(context, args).await,
        Command::Files(args) => files::run(context, args).await,
        Command::Find(args) => find::run(context, *args).await,
        Command::Flatten(args) => flatten::run(context, args).await,
        Command::Grep(args) => grep::run(context, args).await,
        Command::History(args) => history::run(context, args).await,
        Command::Index(args) => index::run(context, args).await,
        Command::Layout(args) => layout::run(context, args).await,
        Command::Ls(args) => ls::run(context, args).await,
        Command::Man(args) => man::run(&context.ui, &args),
        Command::Manifest(args) => manifest::run(context, args).await,
        Command::Mutate(args) => mutate::run(context, *args).await,
        Command::Pull(args) => pull::run(context, args).await,
        Command::Push(args) => push::run(context, args).await,
        Command::Ratelimit(args) => ratelimit::run(context, args).await,
        Command::Rebase(args) => rebase::run(context, args).await,
        Command::Referrers(args) => referrers::run(context, args).await,
        Command::Registry(args) => registry::run(context, args).await,
        Command::Tag(args) => tag::run(context, args).await,
        Command::Toc(args) => toc::run(context, args).await,
        Command::Tour(args) => tour::run(context, args).await,
        Command::Tree(args) => files::draw(context, args).await,
        Command::Validate(args) => validate::run(context, args).await,
        Command::Version(args) => version::run(&context.ui, &args),
        Command::Why(args) => why::run(context, args).await,
    }
}
