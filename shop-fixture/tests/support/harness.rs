//! What asks a service to call back, and keeps the headers of the calls. Requests are written byte for byte: no client
//! library sends a header twice, with space around it or with a name in odd case as it is told to.
#![allow(clippy::unwrap_used, clippy::expect_used, dead_code, unreachable_pub)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A call back, with its headers in order.
#[derive(Debug, Clone)]
pub struct Called {
    pub path: String,
    pub headers: Vec<(String, String)>,
}

impl Called {
    fn values(&self, name: &str) -> Vec<&str> {
        self.headers
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect()
    }

    /// Version, trace id, parent id and flags, if there is exactly one well-formed header.
    pub fn traceparent(&self) -> Result<(String, String, String, String), String> {
        let [value] = self.values("traceparent")[..] else {
            return Err(format!("not one traceparent: {:?}", self.headers));
        };
        let parts: Vec<&str> = value.split('-').collect();
        let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
        let hex = |part: &&str| {
            part.bytes()
                .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        };
        let zero = |part: &str| part.bytes().all(|byte| byte == b'0');
        if lengths != [2, 32, 16, 2] || !parts.iter().all(hex) || zero(parts[1]) || zero(parts[2]) {
            return Err(format!("malformed traceparent {value}"));
        }
        let text = |at: usize| parts[at].to_owned();
        Ok((text(0), text(1), text(2), text(3)))
    }

    /// The members in order.
    pub fn tracestate(&self) -> Result<Vec<(String, String)>, String> {
        let mut members = Vec::new();
        for value in self.values("tracestate") {
            for member in value.split(',') {
                let (key, value) = member
                    .split_once('=')
                    .ok_or_else(|| format!("malformed tracestate {value:?}"))?;
                members.push((key.to_owned(), value.to_owned()));
            }
        }
        Ok(members)
    }
}

pub struct Harness {
    url: String,
    called: Arc<Mutex<Vec<Called>>>,
}

impl Harness {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let called = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&called);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(take(stream, Arc::clone(&kept)));
            }
        });
        Self { url, called }
    }

    /// Has the service call back so many times; its calls in order.
    pub async fn ask(
        &self,
        endpoint: &str,
        headers: &Vec<(String, String)>,
        count: usize,
    ) -> Vec<Called> {
        self.called.lock().unwrap().clear();
        let calls: Vec<Value> = (0..count)
            .map(|number| json!({ "url": format!("{}/callback/{number}", self.url), "arguments": [] }))
            .collect();
        let body = json!(calls).to_string();
        let rest = endpoint.strip_prefix("http://").unwrap();
        let (authority, path) = rest.split_once('/').unwrap();
        let mut request = format!(
            "POST /{path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n",
            body.len()
        );
        for (name, value) in headers {
            request.push_str(&format!("{name}:{value}\r\n"));
        }
        request.push_str("\r\n");
        request.push_str(&body);
        let mut stream = TcpStream::connect(authority).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut answer));
        read.await.expect("no answer").unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.starts_with("HTTP/1.1 200"), "{headers:?}: {answer}");
        let mut called = self.called.lock().unwrap().clone();
        called.sort_by(|a, b| a.path.cmp(&b.path));
        let paths: Vec<String> = called.iter().map(|called| called.path.clone()).collect();
        let wanted: Vec<String> = (0..count)
            .map(|number| format!("/callback/{number}"))
            .collect();
        assert_eq!(paths, wanted, "{headers:?}: {answer}");
        called
    }
}

/// Answers every request on a connection, and keeps its headers.
async fn take(mut stream: TcpStream, called: Arc<Mutex<Vec<Called>>>) {
    let mut buffer: Vec<u8> = Vec::new();
    let mut chunk = [0_u8; 8_192];
    loop {
        let Some(end) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
            match stream.read(&mut chunk).await {
                Ok(read) if read > 0 => buffer.extend_from_slice(&chunk[..read]),
                _ => return,
            }
            continue;
        };
        let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
        let mut lines = head.split("\r\n");
        let path = lines
            .next()
            .unwrap_or_default()
            .split(' ')
            .nth(1)
            .unwrap_or_default()
            .to_owned();
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim_matches([' ', '\t']).to_owned()))
            .collect();
        let length = headers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .and_then(|(_, value)| value.parse::<usize>().ok())
            .unwrap_or(0);
        while buffer.len() < end + 4 + length {
            match stream.read(&mut chunk).await {
                Ok(read) if read > 0 => buffer.extend_from_slice(&chunk[..read]),
                _ => return,
            }
        }
        buffer.drain(..end + 4 + length);
        called.lock().unwrap().push(Called { path, headers });
        if stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .await
            .is_err()
        {
            return;
        }
    }
}
