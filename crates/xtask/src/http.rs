//! As much HTTP as asking a local server for its health, and for one answer, takes.

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
    exchange(port, &format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n\r\n"), TIMEOUT)
}

/// The body that a server on 127.0.0.1 answers `POST /` with, if its status is 200.
pub(crate) fn post(
    port: u16,
    headers: &[(&str, &str)],
    body: &str,
    timeout: Duration,
) -> io::Result<String> {
    let length = body.len();
    let mut request = format!("POST / HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n");
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    exchange(port, &format!("{request}Content-Length: {length}\r\n\r\n{body}"), timeout)
}

fn exchange(port: u16, request: &str, timeout: Duration) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address(port), TIMEOUT)?;
    stream.set_read_timeout(Some(timeout))?;
    // HTTP/1.0: the answer ends where the connection does, and is not chunked. In one piece, as a
    // server may answer and close after the first.
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let refused = || io::Error::other("not an HTTP answer with status 200");
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(refused)?;
    if head.split_whitespace().nth(1) == Some("200") { Ok(body.into()) } else { Err(refused()) }
}

fn address(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::{Ipv4Addr, TcpListener};
    use std::thread;

    use super::get;

    fn answered_with(answer: &'static str) -> std::io::Result<String> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            // All of it: closing with something unread would reset the connection.
            let lines = BufReader::new(&stream).lines().map(Result::unwrap);
            assert!(lines.take_while(|line| !line.is_empty()).count() > 0);
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let body = get(port, "/health");
        server.join().unwrap();
        body
    }

    #[test]
    fn the_body_of_a_good_answer_is_returned() {
        assert_eq!(answered_with("HTTP/1.0 200 OK\r\nA: b\r\n\r\n{}\n").unwrap(), "{}\n");
    }

    #[test]
    fn other_answers_are_errors() {
        assert!(answered_with("HTTP/1.0 503 Unavailable\r\n\r\n{}").is_err());
        assert!(answered_with("hello").is_err());
    }
}
