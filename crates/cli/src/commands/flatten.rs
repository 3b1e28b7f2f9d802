use std::sync::Arc;

use image::{Base, Export, Flatten, Packing};
use layer::Encoding;

use crate::amount::Size;
use crate::change::{self, Compress, Delivery, Target, Time};
use crate::context::Context;
use crate::failure::Failure;
use crate::place::Source;
use crate::progress::{self, Progress};

/// Make one layer of all layers of an image
///
/// The files stay what they are, and so does the configuration; what the history told is kept as the comment of its only step. Of
/// an index, every image is flattened, or the one for --platform.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The image
    #[arg(value_name = "IMAGE")]
    pub(crate) image: String,
    /// Keep the layers of this base, and make one of those above it (+)
    #[arg(long, value_name = "BASE")]
    pub(crate) above: Option<String>,
    /// The most that the inflated layers may take of temporary space, such as 20G (+)
    #[arg(long, value_name = "SIZE", default_value_t = Size(Export::DEFAULT_SPOOL_LIMIT))]
    pub(crate) spool_limit: Size,
    #[command(flatten)]
    pub(crate) target: Target,
    #[command(flatten)]
    pub(crate) time: Time,
    #[command(flatten)]
    pub(crate) compress: Compress,
}

pub(crate) async fn run(context: &Context, args: Args) -> Result<(), Failure> {
    let source = change::open(context, &args.image, args.target.tag.as_deref()).await?;
    let above = match &args.above {
        Some(base) => {
            let Source { store, selector, .. } = context.open(base).await?;
            Some(Base::find(store, &selector).await?)
        }
        None => None,
    };
    let progress = Arc::new(Progress::read(context.ui.clone()));
    let packing = packing(args.compress);
    let packed = Arc::clone(&packing.packed);
    let flatten = Flatten {
        export: Arc::new(Export {
            store: Arc::clone(&source.store),
            observer: Arc::clone(&progress) as _,
            spool_folder: std::env::temp_dir(),
            spool_limit: args.spool_limit.0,
        }),
        packing,
        above,
        created: args.time.created(context)?,
        turn: tokio::sync::Mutex::default(),
    };
    let root = change::root(context, &source, args.target.tag.as_deref().unwrap_or(&args.image)).await?;
    let platform = context.settings.platform();
    let shown = progress::Packing::start(&context.ui, &args.image, packed, None);
    let edited = image::edit(Arc::clone(&source.store), root, platform, &flatten).await;
    drop(shown);
    progress.end(edited.is_ok());
    let delivery = Delivery {
        edited: edited?,
        from: vec![&source.place],
        to: args.target.tag.as_deref().unwrap_or(&args.image),
        own: args.target.tag.is_none().then(|| source.selector.clone()),
        by_digest: false,
        before: None,
        care: args.target.care,
    };
    delivery.send(context).await
}

/// What is pushed once and pulled often is worth more time than what is appended in passing.
fn packing(compress: Compress) -> Packing {
    let packing = compress.packing();
    Packing { encoding: packing.encoding.or(Some(Encoding::GZIP)), ..packing }
}
