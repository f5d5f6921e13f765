//! Frames with file descriptors over a Unix stream socket: a length, a count of descriptors, a postcard value. The
//! descriptors ride on the first byte of their frame, so they arrive no later than it.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

/// Descriptors that one frame may carry: a log and the listeners of a container.
pub(crate) const DESCRIPTORS_MAX: usize = 64;
/// Arguments and environment of one container fit well.
const FRAME_BYTES_MAX: usize = 4 << 20;
const HEAD_BYTES: usize = 5;
const READ_BYTES: usize = 64 << 10;
/// Frames that wait for a slow peer.
const QUEUE_MAX: usize = 4_096;

/// A value and the descriptors that belong to it.
pub(crate) type Frame<T> = (T, Vec<OwnedFd>);

/// The sending half; cheap to clone. The frames of one sender arrive in order.
#[derive(Clone)]
pub(crate) struct Sender(mpsc::Sender<(Vec<u8>, Vec<OwnedFd>)>);

pub(crate) struct Receiver {
    socket: Arc<AsyncFd<OwnedFd>>,
    bytes: Vec<u8>,
    descriptors: VecDeque<OwnedFd>,
}

/// Both halves, and the future that writes; it ends when the peer or every sender is gone.
///
/// # Errors
/// When the socket cannot be watched.
pub(crate) fn split(socket: OwnedFd) -> io::Result<(Sender, Receiver, impl Future<Output = ()> + Send + 'static)> {
    rustix::io::ioctl_fionbio(&socket, true)?;
    // SAFETY: an `OwnedFd` keeps its one descriptor open until it is dropped.
    #[allow(unsafe_code)]
    let socket = Arc::new(unsafe { AsyncFd::register(socket) }?);
    let (sender, mut queue) = mpsc::channel::<(Vec<u8>, Vec<OwnedFd>)>(QUEUE_MAX);
    let receiver = Receiver { socket: socket.clone(), bytes: Vec::new(), descriptors: VecDeque::new() };
    let writer = async move {
        while let Some((bytes, descriptors)) = queue.recv().await {
            if let Err(error) = write(&socket, &bytes, &descriptors).await {
                tracing::debug!("control socket: {error}");
                return;
            }
        }
    };
    Ok((Sender(sender), receiver, writer))
}

impl Sender {
    /// # Errors
    /// `BrokenPipe` when the peer is gone.
    pub(crate) async fn send(&self, value: &impl Serialize, descriptors: Vec<OwnedFd>) -> io::Result<()> {
        let bytes = encode(value, descriptors.len())?;
        self.0.send((bytes, descriptors)).await.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    /// Sends now or gives the descriptors back: the queue is full or the peer is gone.
    ///
    /// # Errors
    /// The descriptors.
    pub(crate) fn try_send(&self, value: &impl Serialize, descriptors: Vec<OwnedFd>) -> Result<(), Vec<OwnedFd>> {
        let Ok(bytes) = encode(value, descriptors.len()) else { return Err(descriptors) };
        self.0.try_send((bytes, descriptors)).map_err(|error| error.into_inner().1)
    }
}

fn encode(value: &impl Serialize, descriptors: usize) -> io::Result<Vec<u8>> {
    let body = postcard::to_stdvec(value).map_err(io::Error::other)?;
    if body.len() > FRAME_BYTES_MAX || descriptors > DESCRIPTORS_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "arguments and environment are too large"));
    }
    let mut bytes = Vec::with_capacity(HEAD_BYTES + body.len());
    bytes.extend_from_slice(&u32::try_from(body.len()).map_err(io::Error::other)?.to_le_bytes());
    bytes.push(u8::try_from(descriptors).map_err(io::Error::other)?);
    bytes.extend_from_slice(&body);
    Ok(bytes)
}

async fn write(socket: &AsyncFd<OwnedFd>, mut bytes: &[u8], descriptors: &[OwnedFd]) -> io::Result<()> {
    let mut descriptors: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
    while !bytes.is_empty() {
        let written = socket
            .async_io(tokio::io::Interest::WRITABLE, |socket| {
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
                let mut control = SendAncillaryBuffer::new(&mut space);
                if !descriptors.is_empty() {
                    control.push(SendAncillaryMessage::ScmRights(&descriptors));
                }
                Ok(sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?)
            })
            .await?;
        descriptors.clear();
        bytes = &bytes[written..];
    }
    Ok(())
}

impl Receiver {
    /// The next frame; `None`: the peer is gone.
    ///
    /// # Errors
    /// When what came is no frame.
    pub(crate) async fn next<T: DeserializeOwned>(&mut self) -> io::Result<Option<Frame<T>>> {
        loop {
            if let Some(frame) = self.decode()? {
                return Ok(Some(frame));
            }
            if self.read().await? == 0 {
                return Ok(None);
            }
        }
    }

    fn decode<T: DeserializeOwned>(&mut self) -> io::Result<Option<Frame<T>>> {
        let Some((head, rest)) = self.bytes.split_at_checked(HEAD_BYTES) else { return Ok(None) };
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let descriptors = usize::from(head[4]);
        if length > FRAME_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the frame is too long"));
        }
        let Some(body) = rest.get(..length) else { return Ok(None) };
        if self.descriptors.len() < descriptors {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the frame lacks descriptors"));
        }
        let value = postcard::from_bytes(body).map_err(io::Error::other)?;
        let descriptors = self.descriptors.drain(..descriptors).collect();
        self.bytes.drain(..HEAD_BYTES + length);
        Ok(Some((value, descriptors)))
    }

    async fn read(&mut self) -> io::Result<usize> {
        let Self { socket, bytes, descriptors } = self;
        // Whatever is waited for, nothing is changed before the bytes are here: the caller may drop this future.
        socket
            .async_io(tokio::io::Interest::READABLE, |socket| {
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
                let mut control = RecvAncillaryBuffer::new(&mut space);
                let start = bytes.len();
                bytes.resize(start + READ_BYTES, 0);
                let mut into = [IoSliceMut::new(&mut bytes[start..])];
                let received = recvmsg(socket, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC);
                bytes.truncate(start + received.as_ref().map_or(0, |received| received.bytes));
                let read = received?.bytes;
                for message in control.drain() {
                    if let RecvAncillaryMessage::ScmRights(received) = message {
                        descriptors.extend(received);
                    }
                }
                Ok(read)
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[tokio::test]
    async fn descriptors_arrive_with_their_frames() {
        let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
        let (sender, _receiver, writer) = split(near.into()).unwrap();
        let (_sender, mut receiver, _writer) = split(far.into()).unwrap();
        let writer = tokio::spawn(writer);
        let long = "x".repeat(300_000);
        for text in ["one", &long, "three"] {
            let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
            sender.send(&text.to_owned(), vec![theirs.into()]).await.unwrap();
            (&ours).write_all(&text.as_bytes()[..3]).unwrap();
        }
        drop(sender);
        for text in ["one", &long, "three"] {
            let (seen, mut descriptors) = receiver.next::<String>().await.unwrap().unwrap();
            assert_eq!(seen, text);
            let mut seen = String::new();
            std::os::unix::net::UnixStream::from(descriptors.remove(0)).read_to_string(&mut seen).unwrap();
            assert_eq!(seen, text[..3]);
        }
        writer.await.unwrap();
    }
}
