//! One trait over all transports, and one type for a transport chosen at run time.

use std::net::SocketAddr;
use std::time::Duration;

use super::{
    Capabilities, Counters, Readiness, Received, TransportError, TxEvent, TxToken, UdpTransport,
    XdpTransport,
};
use crate::wake::Wake;

/// Sends and receives datagrams, and says when they left and arrived.
///
/// Nothing blocks except [`wait`](Self::wait). Every packet that was sent ends in exactly one
/// [`TxEvent`], in time, whatever happens to it.
pub trait Transport: Send {
    /// What stamps come, and why not better ones. May change while running.
    fn capabilities(&self) -> &Capabilities;

    /// The address it listens on.
    fn local_addr(&self) -> SocketAddr;

    /// What happened since it was opened.
    fn counters(&self) -> Counters;

    /// Sends one datagram. Its stamp comes through [`poll_tx`](Self::poll_tx) under the token.
    ///
    /// # Errors
    /// The datagram was not sent; no token is used up. Others may be sent.
    fn send(&mut self, to: SocketAddr, bytes: &[u8]) -> Result<TxToken, TransportError>;

    /// Like [`send`](Self::send), but where packets leave in batches it leaves with the next
    /// [`flush`](Self::flush) or `send`: for servers under load. Elsewhere it leaves at once.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    fn queue(&mut self, to: SocketAddr, bytes: &[u8]) -> Result<TxToken, TransportError> {
        self.send(to, bytes)
    }

    /// Lets leave what was queued.
    ///
    /// # Errors
    /// The kernel refuses to send at all.
    fn flush(&mut self) -> Result<(), TransportError> {
        Ok(())
    }

    /// Hands up to `budget` waiting datagrams to `sink`. Returns how many were taken from the
    /// socket, those dropped included: fewer than `budget` means that none is left.
    ///
    /// # Errors
    /// [`TransportError::Receive`] if nothing can be received at all.
    fn receive(
        &mut self,
        budget: usize,
        sink: impl FnMut(Received<'_>),
    ) -> Result<usize, TransportError>;

    /// Reports the stamps of sent datagrams, and those that will never come. Returns how many.
    ///
    /// # Errors
    /// [`TransportError::Receive`] if stamps cannot be read at all.
    fn poll_tx(&mut self, sink: impl FnMut(TxEvent)) -> Result<usize, TransportError>;

    /// Waits for datagrams, TX stamps, a wake or the timeout (none: for ever), in the mode it was
    /// opened with. A signal ends it early.
    ///
    /// # Errors
    /// [`TransportError::Wait`] if the transport is unusable.
    fn wait(
        &self,
        timeout: Option<Duration>,
        wake: Option<&Wake>,
    ) -> Result<Readiness, TransportError>;
}

impl Transport for UdpTransport {
    fn capabilities(&self) -> &Capabilities {
        Self::capabilities(self)
    }

    fn local_addr(&self) -> SocketAddr {
        Self::local_addr(self)
    }

    fn counters(&self) -> Counters {
        *Self::counters(self)
    }

    #[inline]
    fn send(&mut self, to: SocketAddr, bytes: &[u8]) -> Result<TxToken, TransportError> {
        Self::send(self, to, bytes)
    }

    #[inline]
    fn receive(
        &mut self,
        budget: usize,
        sink: impl FnMut(Received<'_>),
    ) -> Result<usize, TransportError> {
        Self::receive(self, budget, sink)
    }

    #[inline]
    fn poll_tx(&mut self, sink: impl FnMut(TxEvent)) -> Result<usize, TransportError> {
        Self::poll_tx(self, sink)
    }

    fn wait(
        &self,
        timeout: Option<Duration>,
        wake: Option<&Wake>,
    ) -> Result<Readiness, TransportError> {
        Self::wait(self, timeout, wake)
    }
}

/// Makes the enum and its implementation, one predictable branch a call.
macro_rules! any {
    ($($variant:ident($transport:ty)),+ $(,)?) => {
        /// A transport that was chosen at run time.
        #[derive(Debug)]
        #[expect(clippy::large_enum_variant, reason = "one for each node, used in place")]
        pub enum AnyTransport {
            $(
                #[doc = concat!("A [`", stringify!($transport), "`].")]
                $variant($transport),
            )+
        }

        $(
            impl From<$transport> for AnyTransport {
                fn from(transport: $transport) -> Self {
                    Self::$variant(transport)
                }
            }
        )+

        impl Transport for AnyTransport {
            fn capabilities(&self) -> &Capabilities {
                match self { $(Self::$variant(t) => Transport::capabilities(t),)+ }
            }

            fn local_addr(&self) -> SocketAddr {
                match self { $(Self::$variant(t) => Transport::local_addr(t),)+ }
            }

            fn counters(&self) -> Counters {
                match self { $(Self::$variant(t) => Transport::counters(t),)+ }
            }

            #[inline]
            fn send(&mut self, to: SocketAddr, bytes: &[u8]) -> Result<TxToken, TransportError> {
                match self { $(Self::$variant(t) => Transport::send(t, to, bytes),)+ }
            }

            #[inline]
            fn queue(&mut self, to: SocketAddr, bytes: &[u8]) -> Result<TxToken, TransportError> {
                match self { $(Self::$variant(t) => Transport::queue(t, to, bytes),)+ }
            }

            #[inline]
            fn flush(&mut self) -> Result<(), TransportError> {
                match self { $(Self::$variant(t) => Transport::flush(t),)+ }
            }

            #[inline]
            fn receive(
                &mut self,
                budget: usize,
                sink: impl FnMut(Received<'_>),
            ) -> Result<usize, TransportError> {
                match self { $(Self::$variant(t) => Transport::receive(t, budget, sink),)+ }
            }

            #[inline]
            fn poll_tx(&mut self, sink: impl FnMut(TxEvent)) -> Result<usize, TransportError> {
                match self { $(Self::$variant(t) => Transport::poll_tx(t, sink),)+ }
            }

            fn wait(
                &self,
                timeout: Option<Duration>,
                wake: Option<&Wake>,
            ) -> Result<Readiness, TransportError> {
                match self { $(Self::$variant(t) => Transport::wait(t, timeout, wake),)+ }
            }
        }
    };
}

impl AnyTransport {
    /// Its ordinary socket; every transport has one.
    pub fn udp(&self) -> &UdpTransport {
        match self {
            Self::Udp(udp) => udp,
            Self::Xdp(xdp) => xdp.udp(),
        }
    }

    /// The same, to be told of network cards.
    pub fn udp_mut(&mut self) -> &mut UdpTransport {
        match self {
            Self::Udp(udp) => udp,
            Self::Xdp(xdp) => xdp.udp_mut(),
        }
    }
}

any!(Udp(UdpTransport), Xdp(XdpTransport));
