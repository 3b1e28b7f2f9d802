//! Every kind of place, opened and made by its name.

use std::error::Error;

use hoist::image::{Mutation, Setting};
use hoist::local::{ArchiveFormat, NewArchive};
use hoist::{Client, Kind, Place, Platform, Reference, Spot, Tag};
use store::Expected;

include!("playground/mod.rs");

type Outcome = Result<(), Box<dyn Error>>;

async fn open(text: &str) -> Result<Spot, Box<dyn Error>> {
    Ok(text.parse::<Place>()?.open(&Client::default()).await?)
}

async fn copy(from: &Spot, to: &str) -> Result<Spot, Box<dyn Error>> {
    let to = to.parse::<Place>()?.create(&Client::default(), from)?;
    from.copy_to(&to).await?;
    Ok(to)
}

#[tokio::test]
async fn an_index_goes_round_with_one_digest() -> Outcome {
    let Playground { registry, folder } = Playground::start().await?;
    let folder = folder.path().display();
    let from = open(&format!("{registry}/app:1.0")).await?;
    let digest = from.manifest().await?.digest();
    let mut last = from;
    for to in [
        format!("oci:{folder}/layout"),
        format!("oci-archive:{folder}/app.tar:2.0"),
        format!("dir:{folder}/dir"),
        format!("oci:{folder}/nameless"),
        format!("oci-archive:{folder}/nameless.tar"),
        format!("docker://{registry}/back"),
    ] {
        copy(&last, &to).await?;
        last = open(&to).await?;
        assert_eq!(last.manifest().await?.digest(), digest, "{to}");
    }
    assert_eq!(last.to_string(), format!("{registry}/back:latest"));
    // Without a name of its own it kept that of the source.
    let kept = open(&format!("oci:{folder}/layout:1.0")).await?;
    assert_eq!(kept.manifest().await?.digest(), digest);
    Ok(())
}

#[tokio::test]
async fn docker_s_archives_have_names_and_one_platform() -> Outcome {
    let Playground { registry, folder } = Playground::start().await?;
    let file = folder.path().join("app.tar").display().to_string();
    let app = open(&format!("{registry}/app:1.0")).await?;
    let refused = copy(&app, &format!("docker-archive:{file}")).await.unwrap_err();
    assert!(refused.to_string().contains("docker loads one platform"), "{refused}");
    assert!(!std::path::Path::new(&file).exists());

    let image = hoist::transfer::select(&*app.store, &app.selector, &Platform::linux_amd64()).await?;
    app.store.replace_manifest(&Tag::new("one").unwrap().into(), &image, Expected::Nothing).await?;
    let one = open(&format!("{registry}/app:one")).await?;
    for (to, name) in [
        (format!("docker-archive:{file}"), format!("{registry}/app:one")),
        (format!("docker-archive:{file}:team/app:2"), "team/app:2".to_owned()),
    ] {
        copy(&one, &to).await?;
        let found = open(&format!("docker-archive:{file}:{name}")).await?;
        assert_eq!(found.manifest().await?.digest(), image.digest(), "{to}");
    }
    Ok(())
}

#[tokio::test]
async fn an_image_changes_where_it_is() -> Outcome {
    let Playground { registry, folder } = Playground::start().await?;
    let client = Client::default();
    for text in [format!("{registry}/app:1.0"), format!("oci:{}/layout:1.0", folder.path().display())] {
        let place: Place = text.parse()?;
        if matches!(place, Place::Layout(_)) {
            copy(&open(&format!("{registry}/app:1.0")).await?, &text).await?;
        }
        let before = place.open(&client).await?;
        let edited =
            before.edit(&Mutation { labels: vec![Setting::set("a", "b")], ..Mutation::default() }).await?;
        let (images, digest) = (edited.images, edited.root.digest());
        assert_eq!(images, 2);
        Spot::from(edited).copy_to(&place.create(&client, &before)?).await?;
        assert_eq!(place.open(&client).await?.manifest().await?.digest(), digest);
    }
    Ok(())
}

#[tokio::test]
async fn what_is_not_there() -> Outcome {
    let folder = tempfile::tempdir()?;
    let folder = folder.path().display();
    let client = Client::default();
    for text in [format!("oci:{folder}/no"), format!("oci-archive:{folder}/no"), format!("dir:{folder}/no")] {
        let error = text.parse::<Place>()?.open(&client).await.unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound, "{error}");
    }
    let nothing = Spot {
        store: std::sync::Arc::new(hoist::store::MemoryStore::new("nothing")),
        selector: Tag::latest().into(),
    };
    let error = "oci-archive:-".parse::<Place>()?.create(&client, &nothing).unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported, "{error}");
    let error = "docker-archive:x:a b".parse::<Place>()?.create(&client, &nothing).unwrap_err();
    assert!(error.to_string().contains("a b"), "{error}");
    Ok(())
}

#[tokio::test]
async fn an_archive_goes_into_any_stream() -> Outcome {
    let Playground { registry, folder } = Playground::start().await?;
    let app = open(&format!("{registry}/app:1.0")).await?;
    let path = folder.path().join("streamed.tar");
    let out = Box::new(std::fs::File::create(&path)?);
    let store = std::sync::Arc::new(NewArchive::stream(ArchiveFormat::Oci, "the stream", out));
    app.copy_to(&Spot { store, selector: app.selector.clone() }).await?;
    let read = open(&format!("oci-archive:{}", path.display())).await?;
    assert_eq!(read.manifest().await?.digest(), app.manifest().await?.digest());
    Ok(())
}

#[test]
fn references_are_references() {
    let reference: Reference = "nginx".parse().unwrap();
    assert_eq!("docker://nginx".parse::<Place>().unwrap(), Place::Registry(reference));
}
