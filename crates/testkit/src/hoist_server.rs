//! hoist's own registry server, in this process.

use std::future::pending;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use server::{Access, Server, Storage};
use tempfile::TempDir;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use crate::images::Graph;
use crate::listener::{self, LOOPBACK};
use crate::{Client, lock};

/// A running server, open to everybody, with storage of its own.
#[derive(Debug)]
pub struct HoistServer {
    address: String,
    storage: PathBuf,
    /// `None` where the storage is somebody else's.
    directory: Option<TempDir>,
    accesses: Arc<Mutex<Vec<Access>>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl HoistServer {
    /// Starts a server on an empty temporary directory.
    pub fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut server = Self::on(directory.path());
        server.directory = Some(directory);
        server
    }

    /// Starts a server on an empty temporary directory, which listens on this address.
    pub fn at(ip: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut server = Self::listen(listener::ip(ip), directory.path());
        server.directory = Some(directory);
        server
    }

    /// Starts a server on a directory, which stays.
    pub fn on(directory: &Path) -> Self {
        Self::listen(LOOPBACK, directory)
    }

    fn listen(ip: IpAddr, directory: &Path) -> Self {
        let accesses = Arc::<Mutex<Vec<Access>>>::default();
        let (stop, stopped) = oneshot::channel();
        let (ready, address) = std::sync::mpsc::channel();
        let thread = thread::spawn({
            let (storage, accesses) = (directory.to_path_buf(), Arc::clone(&accesses));
            move || {
                let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
                runtime.expect("a runtime").block_on(async {
                    let storage = Storage::open(&storage).expect("a directory for the server");
                    let server = Server::bind((ip, 0).into(), storage).await.expect("a free port");
                    ready.send(server.local_addr()).expect("somebody waits for the address");
                    let server = server.observe(move |access| lock(&accesses).push(access.clone()));
                    // Not an end in order, which would wait for clients: connections are cut.
                    tokio::select! {
                        () = server.serve(pending()) => {}
                        _ = stopped => {}
                    }
                });
            }
        });
        let address = address.recv().expect("the server starts").to_string();
        let (stop, thread) = (Some(stop), Some(thread));
        Self { address, storage: directory.to_path_buf(), directory: None, accesses, stop, thread }
    }

    /// `127.0.0.1:PORT`, or the address that it was started on.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Where its storage is.
    pub fn storage(&self) -> &Path {
        &self.storage
    }

    /// The requests that are over, in the order of their ends.
    pub fn accesses(&self) -> Vec<Access> {
        lock(&self.accesses).clone()
    }

    /// A client of this server.
    pub fn client(&self) -> Client {
        Client::new(&self.address)
    }

    /// Pushes an image.
    pub fn push(&self, graph: &Graph, repository: &str, tag: &str) {
        graph.push(&self.client(), repository, tag);
    }
}

impl Drop for HoistServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
