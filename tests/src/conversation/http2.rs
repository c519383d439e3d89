//! HTTP/2 (RFC 9113), as little of it as it takes to send a request in any spelling and to know that it was answered.

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::Message;
use crate::client::Failure;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

// Types of frames.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

// Flags: ACK of SETTINGS is the same bit as END_STREAM of the others.
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

pub(super) async fn converse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    messages: &[Message],
) -> Result<usize, Failure> {
    stream.write_all(PREFACE).await?;
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await?;
    for (message, id) in messages.iter().zip((1..).step_by(2)) {
        stream.write_all(&frame(HEADERS, END_STREAM | END_HEADERS, id, &block(message))).await?;
    }
    stream.flush().await?;
    let mut answered = 0;
    while answered < messages.len() {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let [a, b, c, kind, flags, ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        stream.read_exact(&mut payload).await?;
        match kind {
            SETTINGS if flags & ACK == 0 => {
                stream.write_all(&frame(SETTINGS, ACK, 0, &[])).await?;
                stream.flush().await?;
            }
            HEADERS | DATA if flags & END_STREAM != 0 => answered += 1,
            RST_STREAM | GOAWAY => return Err(format!("frame {kind}: {payload:?}").into()),
            _ => {}
        }
    }
    Ok(answered)
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
    [&length[..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The header block (RFC 7541): literals that go into no table, not compressed.
fn block(message: &Message) -> Vec<u8> {
    let Message { method, target, authority, headers } = message;
    let request = [(":method", method), (":scheme", &"http".to_owned()), (":authority", authority), (":path", target)];
    let mut block = Vec::new();
    let request = request.into_iter().map(|(name, value)| (name.to_owned(), value));
    for (name, value) in request.chain(headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value))) {
        block.push(0);
        for text in [&name, value] {
            integer(&mut block, text.len());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// An integer with a prefix of seven bits.
fn integer(block: &mut Vec<u8>, number: usize) {
    let Some(mut rest) = number.checked_sub(0x7f) else { return block.push(number.to_le_bytes()[0]) };
    block.push(0x7f);
    while rest >= 0x80 {
        block.push(rest.to_le_bytes()[0] | 0x80);
        rest >>= 7;
    }
    block.push(rest.to_le_bytes()[0]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_those_of_rfc_7541() {
        let encoded = |number| {
            let mut block = vec![];
            integer(&mut block, number);
            block
        };
        assert_eq!(encoded(10), [10]);
        assert_eq!(encoded(126), [126]);
        assert_eq!(encoded(127), [127, 0]);
        assert_eq!(encoded(127 + 1310), [127, 0x9e, 0x0a]);
    }
}
