//! HTTP/1.1: one request after the other, since Envoy takes it for an attack when many are sent at once.

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::Message;
use crate::client::Failure;

pub(super) async fn converse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    messages: &[Message],
) -> Result<usize, Failure> {
    let mut buffer = Vec::new();
    for (answered, message) in messages.iter().enumerate() {
        // That the peer has ended it is found out by reading.
        let _ = stream.write_all(&bytes(message)).await;
        let _ = stream.flush().await;
        let answer = loop {
            if let Some(answer) = Answer::read(&buffer)? {
                break answer;
            }
            if stream.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                return Ok(answered);
            }
        };
        buffer.drain(..answer.length);
        if answer.is_last {
            return Ok(answered + 1);
        }
    }
    Ok(messages.len())
}

fn bytes(message: &Message) -> Vec<u8> {
    let Message { method, target, authority, headers } = message;
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("{method} {target} HTTP/1.1\r\nhost: {authority}\r\n{headers}\r\n").into_bytes()
}

struct Answer {
    /// In bytes, with the content.
    length: usize,
    /// Whether the peer says that no other one follows.
    is_last: bool,
}

impl Answer {
    /// The answer at the beginning of `bytes`; `None` if it is not all there.
    fn read(bytes: &[u8]) -> Result<Option<Self>, Failure> {
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
        let head = std::str::from_utf8(&bytes[..end])?.to_ascii_lowercase();
        if !head.starts_with("http/1.1 ") {
            return Err(format!("no answer: {head}").into());
        }
        let content = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
        let length = end + 4 + content;
        let is_last = head.lines().any(|line| line == "connection: close");
        Ok((bytes.len() >= length).then_some(Self { length, is_last }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_where_its_content_does() {
        let first = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n";
        let both = [&first[..], b"HTTP/1.1 403 Forbidden\r\nconnection: close\r\n\r\n"].concat();
        let read = |bytes: &[u8]| Answer::read(bytes).unwrap().map(|answer| (answer.length, answer.is_last));
        assert_eq!(read(&both), Some((first.len(), false)));
        assert_eq!(read(&both[..first.len() - 1]), None);
        assert_eq!(read(&both[first.len()..]), Some((both.len() - first.len(), true)));
        assert!(Answer::read(b"nonsense\r\n\r\n").is_err());
    }
}
