//! A server that does what no HTTP library would.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

/// Serves each connection with `serve`, in a thread of its own; what that returns can be received. The threads end with
/// their connections, the listener with the test's process.
pub(crate) fn listen<T: Send + 'static>(
    serve: impl Fn(TcpStream) -> T + Send + Sync + Clone + 'static,
) -> (String, Receiver<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (serve, sender) = (serve.clone(), sender.clone());
            thread::spawn(move || {
                let _ = sender.send(serve(stream));
            });
        }
    });
    (address, receiver)
}

/// Reads a head, up to its empty line, and not a byte of the body; empty when there is none.
pub(crate) fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).into_owned()
}
