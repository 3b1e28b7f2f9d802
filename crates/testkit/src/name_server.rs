//! A name server (RFC 1035), as small as can be.

use std::collections::HashMap;
use std::net::{IpAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::lock;

/// Answers for the names that it was told, with new addresses each time where it was told several. Every other name does
/// not exist.
#[derive(Debug)]
pub struct NameServer {
    state: Arc<State>,
    // The thread ends when nobody holds this any more.
    _alive: Arc<()>,
}

#[derive(Debug, Default)]
struct State {
    names: Mutex<HashMap<String, Vec<Vec<IpAddr>>>>,
    asked: Mutex<Vec<String>>,
}

impl NameServer {
    /// Starts a server on port 53 of an address, which only a [`Network`](crate::Network) allows.
    pub fn at(ip: &str) -> Self {
        let socket = UdpSocket::bind((ip, 53)).unwrap_or_else(|error| panic!("port 53 of {ip}: {error}"));
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a timeout");
        let (state, alive) = (Arc::<State>::default(), Arc::new(()));
        thread::spawn({
            let (state, watch) = (Arc::clone(&state), Arc::downgrade(&alive));
            move || {
                let mut query = [0; 1500];
                while watch.strong_count() > 0 {
                    let Ok((length, from)) = socket.recv_from(&mut query) else { continue };
                    if let Some(answer) = state.answer(&query[..length]) {
                        let _ = socket.send_to(&answer, from);
                    }
                }
            }
        });
        Self { state, _alive: alive }
    }

    /// Gives `name` addresses: those of the first list to the first question for addresses of a family, and so on; the
    /// last list counts for all that follow.
    pub fn name(&self, name: &str, answers: &[&[&str]]) {
        let parse = |address: &&str| crate::listener::ip(address);
        let answers = answers.iter().map(|list| list.iter().map(parse).collect()).collect();
        lock(&self.state.names).insert(name.to_owned(), answers);
    }

    /// The names that were asked for, in order.
    pub fn asked(&self) -> Vec<String> {
        lock(&self.state.asked).clone()
    }
}

impl State {
    fn answer(&self, query: &[u8]) -> Option<Vec<u8>> {
        /// What a question may ask for: addresses of version 4, or 6.
        const KINDS: [u16; 2] = [1, 28];
        let mut labels = Vec::new();
        let mut at = 12;
        while let Some(&length @ 1..) = query.get(at) {
            let end = at + 1 + usize::from(length);
            labels.push(String::from_utf8_lossy(query.get(at + 1..end)?).to_lowercase());
            at = end;
        }
        let question = query.get(12..at + 5)?;
        let kind = u16::from_be_bytes([*query.get(at + 1)?, *query.get(at + 2)?]);
        let name = labels.join(".");
        let known = lock(&self.names).get(&name).cloned();
        let addresses: Vec<IpAddr> = known
            .iter()
            .flat_map(|lists| {
                let before =
                    lock(&self.asked).iter().filter(|asked| **asked == format!("{name} {kind}")).count();
                lists[before.min(lists.len() - 1)].clone()
            })
            .filter(|address| KINDS[usize::from(address.is_ipv6())] == kind)
            .collect();
        lock(&self.asked).push(format!("{name} {kind}"));

        // A response, authoritative, recursion as desired; code 3: no such name.
        let code = if known.is_some() { 0 } else { 3 };
        let count = u8::try_from(addresses.len()).ok()?;
        let mut answer =
            [&query[..2], &[0x84 | (query[2] & 1), 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0]].concat();
        answer.extend_from_slice(question);
        for address in addresses {
            let bytes = match address {
                IpAddr::V4(address) => address.octets().to_vec(),
                IpAddr::V6(address) => address.octets().to_vec(),
            };
            // The question's name, its kind, class Internet, good for no time.
            answer.extend_from_slice(&[0xc0, 12]);
            answer.extend_from_slice(&kind.to_be_bytes());
            answer.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, u8::try_from(bytes.len()).ok()?]);
            answer.extend_from_slice(&bytes);
        }
        Some(answer)
    }
}
