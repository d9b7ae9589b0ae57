//! The listeners: who is let in, who has to make room, and how all of them leave.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;

use super::activity::Activity;
use super::connection::{Serving, serve, stopped};
use super::options::ReceiverError;

/// Connections beyond the cap that are still answered, with "busy"; more are closed unheard.
const OVERLOADED: usize = 64;

/// Connections that may be on their way out at once to make room.
const MOST_LEAVING: usize = 256;

const BACKLOG: u32 = 1024;

/// All connections of a receiver, over both listeners.
pub(super) struct Connections {
    limit: usize,
    open: Mutex<Open>,
    overloaded: AtomicUsize,
}

#[derive(Default)]
struct Open {
    next: u64,
    /// Told to go and not yet gone; no longer among the activities.
    leaving: usize,
    activities: HashMap<u64, Arc<Activity>>,
}

/// What becomes of a new connection.
enum Admission {
    Welcome(u64, Arc<Activity>),
    /// To be told that there are too many.
    Overloaded,
    Closed,
}

impl Connections {
    pub(super) fn new(limit: usize) -> Connections {
        Connections {
            limit: limit.max(1),
            open: Mutex::default(),
            overloaded: AtomicUsize::new(0),
        }
    }

    pub(super) fn count(&self) -> usize {
        self.lock().activities.len()
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        // The map is whole between any two statements.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a connection in, at the cost of an idle one if there are too many.
    fn admit(&self, evicted: impl FnOnce()) -> Admission {
        let mut open = self.lock();
        if open.activities.len() >= self.limit {
            if open.evict() {
                evicted();
            } else if self.overloaded.fetch_add(1, Ordering::Relaxed) < OVERLOADED {
                return Admission::Overloaded;
            } else {
                self.overloaded.fetch_sub(1, Ordering::Relaxed);
                return Admission::Closed;
            }
        }
        let id = open.next;
        open.next += 1;
        let activity = Arc::new(Activity::new());
        open.activities.insert(id, Arc::clone(&activity));
        Admission::Welcome(id, activity)
    }

    /// Closes an idle connection because file descriptors have run out.
    fn make_room(&self) -> bool {
        self.lock().evict()
    }
}

impl Open {
    /// Tells the most expendable connection to go. It takes a moment to leave, so only so many may be leaving at once.
    fn evict(&mut self) -> bool {
        if self.leaving >= MOST_LEAVING {
            return false;
        }
        let ranked = self
            .activities
            .iter()
            .filter_map(|(id, activity)| Some((activity.expendable()?, *id)));
        let Some((_, id)) = ranked.min() else {
            return false;
        };
        if let Some(activity) = self.activities.remove(&id) {
            activity.tell_to_go();
            self.leaving += 1;
        }
        true
    }

    fn left(&mut self, id: u64) {
        if self.activities.remove(&id).is_none() {
            self.leaving -= 1;
        }
    }
}

/// Gives the place back when the connection's task ends in whichever way.
struct Place {
    connections: Arc<Connections>,
    id: Option<u64>,
}

impl Drop for Place {
    fn drop(&mut self) {
        match self.id {
            Some(id) => self.connections.lock().left(id),
            None => {
                self.connections.overloaded.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}

pub(super) fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ReceiverError> {
    let listen = || {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        // A restart must not wait for old connections to time out.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(BACKLOG)?;
        let local = listener.local_addr()?;
        Ok((listener, local))
    };
    listen().map_err(|source| ReceiverError::Bind { address, source })
}

/// Accepts until the receiver stops, then waits for the connections to end.
pub(super) async fn accept(
    listener: TcpListener,
    serving: Arc<Serving>,
    connections: Arc<Connections>,
) {
    let mut stopping = serving.stopping.clone();
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            () = stopped(&mut stopping) => break,
            Some(_) = tasks.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => admit(stream, &serving, &connections, &mut tasks),
                Err(error) => recover(&error, &connections, &serving).await,
            },
        }
    }
    drop(listener);
    while tasks.join_next().await.is_some() {}
}

fn admit(
    stream: TcpStream,
    serving: &Arc<Serving>,
    connections: &Arc<Connections>,
    tasks: &mut JoinSet<()>,
) {
    let counters = &serving.shared.counters;
    counters.connected();
    // Answers are small and awaited: never wait to fill a packet. Failing means the client is gone, as will be seen.
    let _ = stream.set_nodelay(true);
    let (id, activity) = match connections.admit(|| counters.evicted()) {
        Admission::Welcome(id, activity) => (Some(id), activity),
        Admission::Overloaded => (None, Arc::new(Activity::new())),
        Admission::Closed => {
            counters.turned_away();
            return;
        }
    };
    let overloaded = id.is_none();
    if overloaded {
        counters.turned_away();
    }
    let place = Place {
        connections: Arc::clone(connections),
        id,
    };
    let serving = Arc::clone(serving);
    tasks.spawn(async move {
        serve(stream, serving, activity, overloaded).await;
        drop(place);
    });
}

/// After a failed accept: a client that left is forgotten; without file descriptors an idle connection makes room.
async fn recover(error: &std::io::Error, connections: &Connections, serving: &Serving) {
    /// `ENFILE` and `EMFILE`, the same on every Unix.
    const NO_DESCRIPTORS: [i32; 2] = [23, 24];
    const PAUSE: Duration = Duration::from_millis(20);
    if error
        .raw_os_error()
        .is_some_and(|code| NO_DESCRIPTORS.contains(&code))
        && connections.make_room()
    {
        serving.shared.counters.evicted();
    }
    if error.kind() != std::io::ErrorKind::ConnectionAborted {
        tokio::time::sleep(PAUSE).await;
    }
}
