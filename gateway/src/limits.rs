//! Every limit of the gateway in one place, with its reason. A looser value anywhere else is a mistake; the tests of
//! `tests/limits.rs` ask the running server.

use std::time::Duration;

/// Longest request target in bytes; a longer one is answered 414.
pub const URI_BYTES: usize = 8 * 1024;
/// Read buffer of an HTTP/1 connection: it also bounds the size of a request's head.
pub const H1_BUFFER_BYTES: usize = 64 * 1024;
/// Header fields of a request.
pub const HEADERS: usize = 100;
/// Time for a request's head, from its first byte (slow-header attacks).
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for a TLS handshake.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time that a connection may stay without a request. Longer than the 60 s for which common ingress controllers keep
/// theirs, so the peer that sends is the one that closes.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// Body of a GitLab completion: two contents of 100 000 code points each can be 1.2 MB when escaped as `\u`.
pub const GITLAB_BODY_BYTES: usize = 4 * 1024 * 1024;
/// Body of an OpenAI request.
pub const OPENAI_BODY_BYTES: usize = 8 * 1024 * 1024;
/// Body of a completion in Mistral's, llama.cpp's or Tabby's protocol.
pub const FILL_BODY_BYTES: usize = 4 * 1024 * 1024;
/// Body of an event that tells what became of a completion.
pub const EVENT_BODY_BYTES: usize = 16 * 1024;
/// Arrays and objects in each other in a JSON body: the limit of the parser that reads them.
pub const JSON_DEPTH: usize = 128;
/// Time between two pieces of a request's body.
pub const BODY_IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for the whole of a request's body.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Time that a client may leave written bytes unread before its connection is cut (slow-read attacks).
pub const WRITE_STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Connections accepted at once over all listeners of one kind; further ones are closed at once.
pub const CONNECTIONS: usize = 8192;
/// Requests under way at once; further ones are shed with 503.
pub const IN_FLIGHT: usize = 4096;
/// Requests that have ended and are kept for `/debug/requests`, with at most a few kilobytes each.
pub const DEBUG_REQUESTS: usize = 256;
/// Streams of an HTTP/2 connection.
pub const H2_STREAMS: u32 = 200;
/// Receive window of an HTTP/2 stream.
pub const H2_STREAM_WINDOW: u32 = 64 * 1024;
/// Receive window of an HTTP/2 connection.
pub const H2_CONNECTION_WINDOW: u32 = 256 * 1024;
/// HTTP/2 streams that a client may open and reset before they are looked at (rapid reset).
pub const H2_PENDING_RESETS: usize = 20;
/// HTTP/2 streams that we reset for a client's mistakes before its connection is closed (made-you-reset).
pub const H2_LOCAL_RESETS: usize = 128;
/// Decoded header list of an HTTP/2 request.
pub const H2_HEADER_LIST_BYTES: u32 = 16 * 1024;
/// Bytes that an HTTP/2 stream may have waiting to be sent.
pub const H2_SEND_BUFFER_BYTES: usize = 64 * 1024;
/// Time between two keep-alive pings of an HTTP/2 connection, and for the answer to one.
pub const H2_PING: Duration = Duration::from_secs(20);
/// Answer of a backend that is read whole (not streamed through).
pub const ANSWER_BYTES: usize = 8 * 1024 * 1024;
/// Bytes of an unfinished event that are held back so that a cut never shows half of it.
pub const EVENT_BYTES: usize = 256 * 1024;
/// Longest `wait` of a long poll for `/v1/state`.
pub const STATE_WAIT: Duration = Duration::from_secs(30);
/// Connections of each of the small listeners at once.
pub const ADMIN_CONNECTIONS: usize = 256;
/// Copies of requests for a route's shadows under way at once; further ones are left out.
pub const COPIES: usize = 16;
/// An answer that is not streamed is checked to be whole before its first byte is passed on, up to this size.
pub const CHECKED_ANSWER_BYTES: usize = 1024 * 1024;
/// Bytes of a stream that are kept so that it can be carried on elsewhere; a longer one cannot.
pub const RESUMABLE_BYTES: usize = 256 * 1024;
/// Request bodies that are kept for as long as their stream lasts, for the same end.
pub const RESUMABLE_BODY_BYTES: usize = 1024 * 1024;
/// Longest pause that a request waits for a backend that asked for one, rather than going to a fallback.
pub const WAIT_FOR_BUSY: Duration = Duration::from_secs(2);
/// Time that written bytes may stay unacknowledged by the other end's kernel.
pub const TCP_USER_TIMEOUT: Duration = Duration::from_secs(30);
/// Silence on a connection after which the other end is asked whether it is still there.
pub const TCP_KEEPALIVE: Duration = Duration::from_secs(30);
