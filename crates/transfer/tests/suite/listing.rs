//! What refers to another manifest is listed where the destination keeps no lists itself.

use std::sync::Arc;
use std::time::Duration;

use oci::{Manifest, Selector, Tag};
use store::{Expected, Kind, MemoryStore, Store};
use transfer::Options;

use crate::images::{image, index, put, run, tag};
use crate::place::Place;

/// An image, and a signature of it.
async fn signed(store: &MemoryStore) -> [Manifest; 2] {
    let image = image(store, "n", &["a"]).await;
    let subject = serde_json::to_string(&image.descriptor()).unwrap();
    let signature = put(store, format!(r#"{{"layers":[],"subject":{subject}}}"#)).await;
    [image, signature]
}

/// The second one keeps no lists.
fn places() -> (Arc<Place>, Arc<Place>) {
    let destination = Place::repository("there:1/b").away(Duration::from_millis(1));
    *destination.lists.lock().unwrap() = Some(Ok(()));
    (Arc::new(Place::repository("here:1/a")), Arc::new(destination))
}

fn list_of(image: &Manifest) -> Tag {
    image.digest().fallback_tag()
}

#[tokio::test]
async fn a_signature_is_listed_with_its_copy_and_again_if_it_is_there() {
    let (source, destination) = places();
    let [_, signature] = signed(&source.inner).await;
    let digest = Selector::Digest(signature.digest());
    let listed = format!("LIST {}", signature.digest());
    for written in [true, false] {
        destination.forget();
        let (transfer, _) = run(&source, &destination, Options::default());
        assert_eq!(transfer.copy(&digest, &digest).await.unwrap().written, written);
        assert_eq!(destination.log().last(), Some(&listed));
        assert_eq!(destination.count("LIST"), 1);
    }
    // That is as many requests as to ask for it.
    assert_eq!((source.log().len(), destination.log().len()), (3, 2));
    *destination.lists.lock().unwrap() = Some(Err(Kind::Denied));
    let (transfer, lines) = run(&source, &destination, Options::default());
    transfer.copy(&digest, &digest).await.unwrap();
    let told = lines.all().into_iter().find(|line| line.starts_with("warned")).unwrap();
    assert!(told.contains(&signature.digest().to_string()) && told.contains("refused"), "{told}");
}

/// Who cannot be asked now is not asked once more for each.
#[tokio::test]
async fn a_destination_that_cannot_be_asked_is_asked_once() {
    for (kind, asked) in [(Kind::Interrupted, 1), (Kind::Invalid, 2)] {
        let (source, destination) = places();
        *destination.lists.lock().unwrap() = Some(Err(kind));
        let [image, signature] = signed(&source.inner).await;
        let subject = serde_json::to_string(&image.descriptor()).unwrap();
        let both = put(
            &source.inner,
            format!(
                r#"{{"manifests":[{}],"subject":{subject}}}"#,
                serde_json::to_string(&signature.descriptor()).unwrap()
            ),
        )
        .await;
        let (transfer, lines) = run(&source, &destination, Options::default());
        transfer.copy(&both.digest().into(), &tag("v1")).await.unwrap();
        assert_eq!((destination.count("LIST"), lines.count("warned")), (asked, 2));
    }
}

#[tokio::test]
async fn an_image_gets_its_name_even_if_what_it_consists_of_cannot_be_listed() {
    let (source, destination) = places();
    let [image, signature] = signed(&source.inner).await;
    let both = index(&source.inner, &[("amd64", &image), ("arm64", &signature)]).await;
    source.inner.put_manifest(&tag("latest"), &both).await.unwrap();
    *destination.lists.lock().unwrap() = Some(Err(Kind::Denied));
    let (transfer, lines) = run(&source, &destination, Options::default());
    transfer.copy(&tag("latest"), &tag("v1")).await.unwrap();
    assert_eq!(destination.inner.manifest(&tag("v1")).await.unwrap(), both);
    assert_eq!(destination.count("LIST"), 1);
    assert_eq!(lines.count("warned"), 1);
}

/// Copying the image lists its signature, and so makes the tag that is to be copied next.
#[tokio::test]
async fn the_lists_of_the_source_come_along() {
    let (source, destination) = places();
    let [image, signature] = signed(&source.inner).await;
    let both = index(&source.inner, &[("amd64", &image), ("arm64", &signature)]).await;
    let list = index(&source.inner, &[("arm64", &signature)]).await;
    source.inner.put_manifest(&tag("1.0"), &both).await.unwrap();
    source.inner.put_manifest(&list_of(&image).into(), &list).await.unwrap();
    let options = Options { no_clobber: true, jobs: 1.try_into().unwrap(), ..Options::default() };
    let (transfer, _) = run(&source, &destination, options);
    let copied = transfer.copy_tags().await.unwrap();
    assert_eq!((copied.copied, copied.skipped), (2, 0));
    assert_eq!(destination.inner.manifest(&list_of(&image).into()).await.unwrap(), list);

    // Where somebody else has made it, it is spared.
    let (transfer, _) = run(&source, &destination, Options { no_clobber: true, ..Options::default() });
    assert_eq!(transfer.copy_tags().await.unwrap().skipped, 2);
}

/// Its entries are what the list says already.
#[tokio::test]
async fn a_list_that_is_copied_is_written_once() {
    let (source, destination) = places();
    let [image, signature] = signed(&source.inner).await;
    let list = index(&source.inner, &[("arm64", &signature)]).await;
    let name = Selector::Tag(list_of(&image));
    source.inner.put_manifest(&name, &list).await.unwrap();
    let options = Options { expect: Some(Expected::Nothing), ..Options::default() };
    let (transfer, _) = run(&source, &destination, options);
    transfer.copy(&name, &name).await.unwrap();
    assert_eq!(destination.inner.manifest(&name).await.unwrap(), list);
    assert_eq!(destination.count("LIST"), 0);
}
