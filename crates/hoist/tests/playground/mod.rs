/// A registry of its own, for examples and tests.
struct Playground {
    /// Its host and port.
    registry: String,
    /// A folder that is gone in the end.
    folder: tempfile::TempDir,
}

impl Playground {
    /// With `base:1` and `base:2`, and `app:1.0` on `base:1`, each for two platforms.
    async fn start() -> Result<Self, Box<dyn std::error::Error>> {
        use hoist::image::{Content, File, Layer, push, push_index};
        use hoist::{Client, Platform, Reference};

        let folder = tempfile::tempdir()?;
        let storage = server::Storage::open(folder.path().join("registry"))?;
        let server = server::Server::bind("127.0.0.1:0".parse()?, storage).await?;
        let registry = server.local_addr().to_string();
        tokio::spawn(server.serve(std::future::pending()));

        let layer = |path, content: &'static str| {
            Layer::new(&[File { path, mode: 0o644, content: Content::File(content.as_bytes()) }])
        };
        let (old, new, app) =
            (layer("etc/motd", "old\n")?, layer("etc/motd", "new\n")?, layer("app", "hello\n")?);
        let config = serde_json::json!({ "Cmd": ["/app"] });
        for (name, layers) in [("base:1", &[&old][..]), ("base:2", &[&new]), ("app:1.0", &[&old, &app])] {
            let reference: Reference = format!("{registry}/{name}").parse()?;
            let store = Client::default().repository(reference.repository()).for_push(None);
            let mut images = Vec::new();
            for architecture in ["amd64", "arm64"] {
                images.push(push(&store, &Platform::new("linux", architecture), layers, &config).await?);
            }
            push_index(&store, &images, &reference.selector()).await?;
        }
        Ok(Self { registry, folder })
    }
}
