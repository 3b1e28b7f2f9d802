use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::{LayerContent, Mutation, NewLayer, Setting};
use oci::Platform;

use crate::change::{self, Care, Compress, Delivery, Time};
use crate::context::Context;
use crate::failure::Failure;
use crate::words;

/// Change labels, annotations, environment and the like of an image
///
/// Of an index, every image is changed, or the one for --platform, and the index with them; annotations are those of the index
/// too. What is not named stays as it is written. `KEY-` takes a key away, and an empty value clears a setting.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The image or any other artifact
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
    /// Annotations to set: KEY=VALUE, several with commas between them; `KEY-` takes one away (+)
    #[arg(short, long, value_name = "KEY=VALUE", allow_hyphen_values = true)]
    pub(crate) annotation: Vec<String>,
    /// Labels to set, likewise
    #[arg(short, long, value_name = "KEY=VALUE", allow_hyphen_values = true)]
    pub(crate) label: Vec<String>,
    /// A variable of the environment to set, one each time; `KEY-` takes one away (+)
    #[arg(short, long, value_name = "KEY=VALUE", allow_hyphen_values = true)]
    pub(crate) env: Vec<String>,
    /// The entrypoint, its words with commas between them; `""` for none
    #[arg(long, value_name = "WORDS", allow_hyphen_values = true)]
    pub(crate) entrypoint: Option<Vec<String>>,
    /// The arguments, likewise; a new entrypoint leaves them as they are
    #[arg(long, value_name = "WORDS", allow_hyphen_values = true)]
    pub(crate) cmd: Option<Vec<String>>,
    /// The user
    #[arg(short, long, value_name = "USER")]
    pub(crate) user: Option<String>,
    /// The working directory
    #[arg(short, long, value_name = "DIR")]
    pub(crate) workdir: Option<String>,
    /// All ports, such as `80/tcp,443/tcp`; `""` for none
    #[arg(long, value_name = "PORTS")]
    pub(crate) exposed_ports: Option<Vec<String>>,
    /// The platform that the image says it is for
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) set_platform: Option<Platform>,
    /// Layers to put on top: tar archives, plain or compressed
    #[arg(long, value_name = "FILE")]
    pub(crate) append: Vec<String>,
    /// The name for the result; without it, that of the image itself, and for an image named by digest, the new digest
    #[arg(short, long, value_name = "IMAGE")]
    pub(crate) tag: Option<String>,
    /// The repository that the result goes to, by its digest
    #[arg(long, value_name = "REPOSITORY", conflicts_with = "tag")]
    pub(crate) repo: Option<String>,
    /// A file for the result, an archive for docker; then nothing goes to a registry
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) time: Time,
    #[command(flatten)]
    pub(crate) compress: Compress,
    #[command(flatten)]
    pub(crate) care: Care,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    let mutation = mutation(context, &args).await?;
    let elsewhere = args.tag.as_deref().or(args.repo.as_deref());
    let target = elsewhere.or(args.output.as_ref().map(|_| args.image.as_str()));
    let source = change::open(context, &args.image, target).await?;
    let platform = context.settings.platform();
    let root = match &args.output {
        // Docker loads one image: of an index the one that crane takes.
        Some(_) => {
            let platform = context.settings.platform_or_default();
            transfer::select(&*source.store, &source.selector, &platform).await?
        }
        None => change::root(context, &source, target.unwrap_or(&args.image)).await?,
    };
    // What it replaces has just been read.
    let before = (target.is_none() && source.place.digest().is_none()).then(|| root.descriptor());
    let edited = image::edit(Arc::clone(&source.store), root, platform, &mutation).await?;
    let delivery = Delivery {
        edited,
        from: vec![&source.place],
        to: args.repo.as_deref().or(args.tag.as_deref()).unwrap_or(&args.image),
        own: elsewhere.is_none().then(|| source.selector.clone()),
        by_digest: args.repo.is_some(),
        before,
        care: args.care,
    };
    match &args.output {
        Some(file) => delivery.save(context, file).await,
        None => delivery.send(context).await,
    }
}

async fn mutation(context: &Context, args: &Args) -> Result<Mutation, Failure> {
    let given = |flag: &str| {
        let flag = flag.to_owned();
        move |problem: String| Failure::new(format_args!("--{flag}: {problem}"))
    };
    let list = |flag: &str, words: &Option<Vec<String>>| {
        words.as_ref().map(|words| words::all(words).map_err(given(flag))).transpose()
    };
    let mut layers = Vec::new();
    for path in words::all(&args.append).map_err(given("append"))? {
        layers.push(layer(context, &path, args.compress).await?);
    }
    Ok(Mutation {
        annotations: words::settings(&args.annotation).map_err(given("annotation"))?,
        labels: words::settings(&args.label).map_err(given("label"))?,
        env: args
            .env
            .iter()
            .map(|word| words::setting(word))
            .collect::<Result<Vec<Setting>, String>>()
            .map_err(given("env"))?,
        entrypoint: list("entrypoint", &args.entrypoint)?,
        cmd: list("cmd", &args.cmd)?,
        user: args.user.clone(),
        workdir: args.workdir.clone(),
        ports: list("exposed-ports", &args.exposed_ports)?,
        platform: args.set_platform.clone(),
        layers,
        created: args.time.created(context)?,
    })
}

/// A layer that is in a file, or comes through standard input.
pub(super) async fn layer(context: &Context, path: &str, compress: Compress) -> Result<NewLayer, Failure> {
    let (name, made_of) = match path {
        "-" => ("standard input", LayerContent::Stream(Box::new(std::io::stdin()))),
        path => (path, LayerContent::Archive(path.into())),
    };
    // What is compressed has more bytes than its file.
    let plain = Path::new(path).extension().is_some_and(|extension| extension == "tar");
    let file = std::fs::metadata(path).ok().filter(|file| plain && file.is_file());
    compress.layer(context, name, made_of, file.map(|file| file.len())).await
}
