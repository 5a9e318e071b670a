//! The organization over HTTP, for programs that cannot be given a client:
//! `AWS_ENDPOINT_URL=http://127.0.0.1:PORT` sends every call here.

use std::convert::Infallible;
use std::net::SocketAddr;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::organization::Organization;
use crate::wire::{self, HttpRequest};

/// Serves until the future is dropped; `ready` learns the address. Only
/// loopback addresses are taken.
pub async fn serve(
    organization: Organization,
    address: SocketAddr,
    ready: impl FnOnce(SocketAddr),
) -> std::io::Result<()> {
    if !address.ip().is_loopback() {
        let message = "the simulated organization is served on loopback addresses only";
        return Err(std::io::Error::other(message));
    }
    let listener = TcpListener::bind(address).await?;
    ready(listener.local_addr()?);
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        let organization = organization.clone();
        // Joined by being dropped together with this future.
        connections.spawn(async move {
            let service = service_fn(|request| answer(organization.clone(), request));
            let served = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            // A client that hangs up in the middle is not the server's failure.
            drop(served.await);
        });
    }
}

async fn answer(
    organization: Organization,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let bad = |status: u16, message: String| {
        let mut response = Response::new(Full::new(Bytes::from(message)));
        *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
        Ok(response)
    };
    let (parts, body) = request.into_parts();
    let body = match body.collect().await {
        Ok(body) => body.to_bytes().to_vec(),
        Err(error) => return bad(400, error.to_string()),
    };
    // A proxy gets absolute URIs, a server the Host header.
    let from_header = parts.headers.get("host").and_then(|host| host.to_str().ok());
    let host = parts.uri.host().or(from_header).unwrap_or_default();
    let request = HttpRequest {
        method: parts.method.to_string(),
        host: host.split(':').next().unwrap_or_default().to_owned(),
        path: parts.uri.path().to_owned(),
        query: wire::form(parts.uri.query().unwrap_or_default()),
        headers: parts.headers,
        body,
    };
    match organization.answer(request).await {
        Ok(answer) => {
            let mut response = Response::new(Full::new(Bytes::from(answer.body)));
            *response.status_mut() = http::StatusCode::from_u16(answer.status).unwrap_or_default();
            *response.headers_mut() = answer.headers;
            Ok(response)
        }
        Err(why) => bad(502, why.to_owned()),
    }
}
