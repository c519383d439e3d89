//! Requests byte by byte, in HTTP/1.1 and HTTP/2, as no library would send them.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::client::Identity;

const PATIENCE: Duration = Duration::from_secs(10);

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// What came back.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Status.
    pub status: u16,
    /// The header `location`, in HTTP/1.1.
    pub location: Option<Vec<u8>>,
    /// Body.
    pub body: Vec<u8>,
}

/// A client that opens its connection when it needs one, over TLS if it has an identity.
pub struct Wire {
    address: SocketAddr,
    identity: Option<Identity>,
    open: Option<Open>,
}

struct Open {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
    /// HTTP/2: the number of the next stream.
    next_stream: u32,
}

impl Wire {
    /// A client of a listener.
    pub const fn new(address: SocketAddr, identity: Option<Identity>) -> Self {
        Self { address, identity, open: None }
    }

    async fn open(&mut self) -> io::Result<Open> {
        let stream: Box<dyn Stream> = match &self.identity {
            None => Box::new(TcpStream::connect(self.address).await?),
            Some(identity) => Box::new(identity.connect(self.address).await.map_err(io::Error::other)?),
        };
        Ok(Open { stream, buffer: Vec::new(), next_stream: 1 })
    }

    /// Sends a request of HTTP/1.1 as it is written. `None` if the connection ends without an answer.
    ///
    /// # Panics
    /// There is neither an answer nor an end, or no connection at all.
    pub async fn http1(&mut self, request: &[u8]) -> Option<Reply> {
        // A connection that was kept may have been closed meanwhile: that is no answer.
        for is_fresh in [self.open.is_none(), true] {
            let mut open = match self.open.take() {
                Some(open) => open,
                None => self.open().await.expect("connects"),
            };
            let reply = timeout(PATIENCE, open.http1(request)).await;
            match reply.unwrap_or_else(|_| panic!("no answer to {}", request.escape_ascii())) {
                Ok((reply, keeps)) => {
                    self.open = keeps.then_some(open);
                    return Some(reply);
                }
                Err(_) if is_fresh => return None,
                Err(_) => {}
            }
        }
        None
    }

    /// Sends headers by HTTP/2, pseudo-headers among them, in this order. `None` if the stream is reset or the connection
    /// ends.
    ///
    /// # Panics
    /// There is neither an answer nor an end, or no connection at all.
    pub async fn http2(&mut self, headers: &[(&[u8], &[u8])]) -> Option<Reply> {
        for is_fresh in [self.open.is_none(), true] {
            let mut open = match self.open.take() {
                Some(open) => open,
                None => {
                    let mut open = self.open().await.expect("connects");
                    if open.stream.write_all(&preface()).await.is_err() {
                        return None;
                    }
                    open
                }
            };
            let reply = timeout(PATIENCE, open.http2(headers)).await;
            match reply.unwrap_or_else(|_| panic!("no answer to {headers:?}")) {
                Ok(reply) => {
                    self.open = Some(open);
                    return reply;
                }
                Err(_) if is_fresh => return None,
                Err(_) => {}
            }
        }
        None
    }
}

impl Open {
    async fn read(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// The next `length` bytes.
    async fn take(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < length {
            self.read().await?;
        }
        Ok(self.buffer.drain(..length).collect())
    }

    /// The next line, without its end.
    async fn line(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|window| window == b"\r\n") {
                let line = self.buffer.drain(..end).collect();
                self.buffer.drain(..2);
                return Ok(line);
            }
            self.read().await?;
        }
    }

    /// The answer, and whether the connection can be used again.
    async fn http1(&mut self, request: &[u8]) -> io::Result<(Reply, bool)> {
        // Envoy may have answered and closed before it has read everything.
        let _ = self.stream.write_all(request).await;
        let status = self.line().await?;
        let status = status.get(9..12).and_then(|code| std::str::from_utf8(code).ok()?.parse().ok());
        let status: u16 = status.ok_or(io::ErrorKind::InvalidData)?;
        let (mut length, mut chunked, mut keeps, mut location) = (0, false, true, None);
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                break;
            }
            let text = String::from_utf8_lossy(&line).into_owned();
            let (name, value) = text.split_once(':').unwrap_or((&text, ""));
            match (name.to_ascii_lowercase().as_str(), value.trim()) {
                ("content-length", value) => length = value.parse().map_err(io::Error::other)?,
                ("transfer-encoding", value) => chunked = value == "chunked",
                ("connection", value) => keeps = value != "close",
                ("location", value) => location = Some(value.as_bytes().to_vec()),
                _ => {}
            }
        }
        // A tunnel is of no use to the next request, and has no body that ends.
        if request.starts_with(b"CONNECT ") && status < 300 {
            return Ok((Reply { status, location, body: Vec::new() }, false));
        }
        let mut body = self.take(length).await?;
        while chunked {
            let size = self.line().await?;
            let size = usize::from_str_radix(&String::from_utf8_lossy(&size), 16).map_err(io::Error::other)?;
            body.extend(self.take(size).await?);
            self.line().await?;
            chunked = size > 0;
        }
        Ok((Reply { status, location, body }, keeps))
    }

    async fn http2(&mut self, headers: &[(&[u8], &[u8])]) -> io::Result<Option<Reply>> {
        let id = self.next_stream;
        self.next_stream += 2;
        let mut block = Vec::new();
        for (name, value) in headers {
            // A literal without indexing, with its name written out, and no Huffman codes.
            block.push(0);
            push_string(&mut block, name);
            push_string(&mut block, value);
        }
        self.stream.write_all(&frame(HEADERS, END_STREAM | END_HEADERS, id, &block)).await?;
        let mut reply: Option<Reply> = None;
        loop {
            let head = self.take(9).await?;
            let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            let (kind, flags) = (head[3], head[4]);
            let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
            let payload = self.take(length).await?;
            let is_ours = stream == id;
            match kind {
                SETTINGS if flags & ACK == 0 => self.stream.write_all(&frame(SETTINGS, ACK, 0, &[])).await?,
                PING if flags & ACK == 0 => self.stream.write_all(&frame(PING, ACK, 0, &payload)).await?,
                GOAWAY => return Err(io::ErrorKind::ConnectionAborted.into()),
                RST_STREAM if is_ours => return Ok(reply),
                HEADERS if is_ours && reply.is_none() => {
                    let status = status_of(&payload).ok_or(io::ErrorKind::InvalidData)?;
                    reply = Some(Reply { status, location: None, body: Vec::new() });
                }
                DATA => {
                    let size = u32::try_from(payload.len()).expect("a frame").to_be_bytes();
                    if size != [0; 4] {
                        self.stream.write_all(&frame(WINDOW_UPDATE, 0, 0, &size)).await?;
                    }
                    if let Some(reply) = reply.as_mut().filter(|_| is_ours) {
                        reply.body.extend(payload);
                    }
                }
                _ => {}
            }
            if is_ours && matches!(kind, HEADERS | DATA) && flags & END_STREAM != 0 {
                return Ok(reply);
            }
        }
    }
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// Without a dynamic table for answers, so that each can be read by itself.
fn preface() -> Vec<u8> {
    let settings = [0, 1, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0];
    [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(SETTINGS, 0, 0, &settings)].concat()
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// HPACK's string: a length with a prefix of seven bits, and the bytes.
fn push_string(block: &mut Vec<u8>, text: &[u8]) {
    let mut length = text.len();
    if length < 127 {
        block.push(u8::try_from(length).expect("small"));
    } else {
        block.push(127);
        length -= 127;
        while length >= 128 {
            block.push(u8::try_from(length % 128 + 128).expect("a byte"));
            length /= 128;
        }
        block.push(u8::try_from(length).expect("small"));
    }
    block.extend(text);
}

/// The status, which is the first field of an answer's header block.
fn status_of(block: &[u8]) -> Option<u16> {
    // What comes first may be a new size of the dynamic table.
    let mut rest = block;
    while let [first, tail @ ..] = rest
        && first & 0xe0 == 0x20
    {
        rest = tail;
        if first & 0x1f == 0x1f {
            let end = rest.iter().position(|byte| byte & 0x80 == 0)?;
            rest = &rest[end + 1..];
        }
    }
    match rest {
        [indexed, ..] if indexed & 0x80 != 0 => {
            [200, 204, 206, 304, 400, 404, 500].get(usize::from(indexed & 0x7f).checked_sub(8)?).copied()
        }
        [_, length, value @ ..] => {
            let digits = value.get(..usize::from(length & 0x7f))?;
            let digits = if length & 0x80 == 0 { digits.to_vec() } else { huffman_digits(digits) };
            std::str::from_utf8(&digits).ok()?.parse().ok()
        }
        _ => None,
    }
}

/// Digits in HPACK's Huffman code: 0 to 2 have five bits, the others six.
fn huffman_digits(bytes: &[u8]) -> Vec<u8> {
    let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    let number = |bits: &[u8]| bits.iter().fold(0, |number, bit| number * 2 + bit);
    let (mut digits, mut rest) = (Vec::new(), bits.as_slice());
    while rest.len() >= 5 {
        let short = number(&rest[..5]);
        if short <= 2 {
            digits.push(b'0' + short);
            rest = &rest[5..];
        } else if rest.len() >= 6 && (0x19..=0x1f).contains(&number(&rest[..6])) {
            digits.push(b'3' + number(&rest[..6]) - 0x19);
            rest = &rest[6..];
        } else {
            break;
        }
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_status_in_every_form() {
        assert_eq!(status_of(&[0x88]), Some(200));
        assert_eq!(status_of(&[0x3f, 0xe1, 0x1f, 0x20, 0x8c]), Some(400));
        assert_eq!(status_of(b"\x08\x03403"), Some(403));
        // 403: 011010 00000 011001 and padding.
        assert_eq!(status_of(&[0x48, 0x83, 0b0110_1000, 0b0000_1100, 0b1111_1111]), Some(403));
    }
}
