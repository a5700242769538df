//! HTTP requests that no client of ours would make.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::TestnetError;

/// A node answers at once; a machine that is busy takes a little longer.
const ANSWER: Duration = Duration::from_secs(60);

/// Sends `body` to a path of the node at `url`: the status of the answer. Each request has a connection of its own.
///
/// # Errors
/// When the node does not answer with a status.
pub fn post(url: &str, path: &str, body: &[u8]) -> Result<u16, TestnetError> {
    let address = url.trim_start_matches("http://");
    let failed = || TestnetError::system(format!("asking {url}"));
    let mut stream = TcpStream::connect(address).map_err(failed())?;
    for timeout in [TcpStream::set_read_timeout, TcpStream::set_write_timeout] {
        timeout(&stream, Some(ANSWER)).map_err(failed())?;
    }
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
         content-type: application/octet-stream\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).map_err(failed())?;
    stream.write_all(body).map_err(failed())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(failed())?;
    let text = String::from_utf8_lossy(&answer);
    let status = text.split_ascii_whitespace().nth(1);
    status
        .and_then(|status| status.parse().ok())
        .ok_or_else(|| TestnetError::Node(format!("{url} answered {:?}", text.lines().next())))
}
