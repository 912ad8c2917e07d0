//! As much HTTP as asking a local server for its health takes.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// A health answer that takes longer than this is no answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// A port on 127.0.0.1 that was free a moment ago.
pub(crate) fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Whether something accepts connections on 127.0.0.1 at `port`.
pub(crate) fn listens(port: u16) -> bool {
    TcpStream::connect_timeout(&address(port), TIMEOUT).is_ok()
}

/// The body that a server on 127.0.0.1 answers `GET path` with, if its status is 200.
pub(crate) fn get(port: u16, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address(port), TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    // HTTP/1.0: the answer ends where the connection does, and is not chunked.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let refused = || io::Error::other("not an HTTP answer with status 200");
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(refused)?;
    if head.split_whitespace().nth(1) == Some("200") { Ok(body.into()) } else { Err(refused()) }
}

fn address(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}
