//! What can go wrong with the broker, one variant per thing a caller would do about it.

use std::time::Duration;

use thiserror::Error;

/// AMQP's reply code for a declaration that differs from what is there.
pub(crate) const PRECONDITION_FAILED: u16 = 406;

/// What the AMQP client said; its words are for people, never matched on.
#[derive(Debug, Clone, Error)]
#[error(transparent)]
pub struct ClientError(#[from] lapin::Error);

/// Why there is no connection.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The text does not read as a URL.
    #[error("AMQP_URL is not a URL; write amqp://user:password@host:5672/%2f")]
    InvalidUrl(#[source] url::ParseError),
    /// The URL is for something other than AMQP.
    #[error("AMQP_URL must start with amqp:// or amqps://")]
    UnknownScheme,
    /// A URL, but not one for AMQP.
    #[error("AMQP_URL is not usable: check the port, the virtual host and the query")]
    UnusableUrl,
    /// Nothing answered in time.
    #[error(
        "RabbitMQ at {address} was not reachable within {waited:?}: check AMQP_URL (host, port, TLS) and that the broker runs"
    )]
    Unreachable {
        /// Host and port, without user and password.
        address: String,
        /// How long it was tried.
        waited: Duration,
        /// What the last try said, if it came to an end.
        #[source]
        source: Option<ClientError>,
    },
    /// It answered, and does not let us in.
    #[error("RabbitMQ at {address} refused the login: check user, password and virtual host in AMQP_URL")]
    Refused {
        /// Host and port, without user and password.
        address: String,
        /// What the broker said, which names neither user nor password.
        #[source]
        source: ClientError,
    },
    /// What we need is declared otherwise.
    #[error("the topology of the fleet could not be declared")]
    Topology(#[from] TopologyError),
    /// The broker handle was closed.
    #[error("the connection was closed by this program")]
    Closed,
}

/// Why the topology could not be declared.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum TopologyError {
    /// It exists with other arguments, which RabbitMQ never changes in place.
    #[error(
        "`{object}` exists in RabbitMQ with other arguments than this version declares: \
         drain it and delete it (rabbitmqctl delete_queue), or use another fleet name or the version that made it"
    )]
    Inequivalent {
        /// The exchange or queue.
        object: String,
        /// RabbitMQ's words, which name the argument.
        #[source]
        source: ClientError,
    },
    /// It could not be declared for another reason.
    #[error("`{object}` could not be declared")]
    Declare {
        /// The exchange or queue.
        object: String,
        /// What the client or the broker said.
        #[source]
        source: ClientError,
    },
}

impl TopologyError {
    pub(crate) fn of(object: &str, error: lapin::Error) -> Self {
        let (object, inequivalent) = (object.to_owned(), reply_code(&error) == Some(PRECONDITION_FAILED));
        let source = error.into();
        if inequivalent { Self::Inequivalent { object, source } } else { Self::Declare { object, source } }
    }
}

/// Why a message was not published, or may not have been.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PublishError {
    /// No queue takes it: a queue or binding is missing. Not published.
    #[error("no queue takes messages for `{destination}`: its queue or binding is missing")]
    Unroutable {
        /// Exchange and routing key.
        destination: String,
    },
    /// The queue is full. Not published.
    #[error("`{destination}` is full and refuses messages")]
    QueueFull {
        /// Exchange and routing key.
        destination: String,
    },
    /// The broker takes no messages at the moment (memory or disk alarm). Not published.
    #[error("the broker blocks publishers: it is low on memory or disk")]
    Blocked,
    /// No connection within the deadline. Not published.
    #[error("not connected to the broker")]
    Disconnected,
    /// No answer: it may have been published, or not.
    #[error("the broker did not confirm within the deadline: the message may or may not have been published")]
    Unknown(#[source] Option<ClientError>),
    /// Larger than the broker or a reader would take. Not published.
    #[error("the message has {bytes} bytes, more than the {limit} that are allowed")]
    TooLarge {
        /// How many it has.
        bytes: usize,
        /// How many it may have.
        limit: usize,
    },
    /// Larger than this broker takes. Not published.
    #[error(
        "the broker refuses a message of {bytes} bytes: raise `max_message_size` in rabbitmq.conf (16777216 suits every message of a fleet)"
    )]
    LargerThanTheBrokerTakes {
        /// How many its body has.
        bytes: usize,
    },
}

impl PublishError {
    /// Whether the broker takes this message neither now nor later, wherever it is published.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Self::TooLarge { .. } | Self::LargerThanTheBrokerTakes { .. })
    }

    /// Whether the queue or exchange it was for said no, so that another may take it.
    pub(crate) fn is_of_its_destination(&self) -> bool {
        matches!(self, Self::Unroutable { .. } | Self::QueueFull { .. })
    }

    /// Whether the message may be in the queue all the same.
    pub fn may_be_published(&self) -> bool {
        matches!(self, Self::Unknown(_))
    }
}

/// Why a question to the broker has no answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// No connection within the deadline.
    #[error("not connected to the broker")]
    Disconnected,
    /// Connected, but it did not answer within the deadline.
    #[error("the broker did not answer within {0:?}")]
    Silent(Duration),
    /// It answered with an error.
    #[error("the broker refused the request")]
    Client(#[from] ClientError),
}

impl From<lapin::Error> for BrokerError {
    fn from(error: lapin::Error) -> Self {
        Self::Client(error.into())
    }
}

/// The AMQP reply code of an error, if the broker sent one.
pub(crate) fn reply_code(error: &lapin::Error) -> Option<u16> {
    if let lapin::ErrorKind::ProtocolError(error) = error.kind() { Some(error.get_id()) } else { None }
}
