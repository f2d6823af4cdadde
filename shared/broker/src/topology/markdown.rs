//! Draws the topology for the documentation.

use std::fmt::{self, Display};

use super::{Argument, LockName, Topology};

impl Topology {
    /// Tables of everything that is declared, in Markdown.
    pub fn to_markdown(&self) -> String {
        Drawing(self).to_string()
    }
}

struct Drawing<'a>(&'a Topology);

impl Display for Drawing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let topology = self.0;
        writeln!(f, "| exchange | kind | purpose |\n|---|---|---|")?;
        for exchange in topology.exchanges() {
            writeln!(f, "| `{}` | {} | {} |", exchange.name, exchange.kind, exchange.purpose)?;
        }
        writeln!(f, "\n| queue | bound to | arguments | purpose |\n|---|---|---|---|")?;
        for queue in topology.queues() {
            let binding = topology.bindings().iter().find(|binding| binding.queue == queue.name);
            let bound = match binding {
                None => "default exchange".to_owned(),
                Some(binding) if binding.routing_key.is_empty() => format!("`{}`", binding.exchange),
                Some(binding) => format!("`{}` by `{}`", binding.exchange, binding.routing_key),
            };
            let arguments: Vec<String> =
                queue.arguments.iter().map(|(key, value)| format!("`{key}={value}`")).collect();
            writeln!(f, "| `{}` | {bound} | {} | {} |", queue.name, arguments.join(" "), queue.purpose)?;
        }
        writeln!(f, "\n| exclusive queue | held by |\n|---|---|")?;
        writeln!(f, "| `{}` | the active producer |", topology.lock_queue(LockName::Producer))?;
        writeln!(
            f,
            "| `{}` | the operator at the dead letters |",
            topology.lock_queue(LockName::DeadLetters)
        )?;
        writeln!(
            f,
            "| `{}` | who asks Daytona about a key that it refused; the number tells keys apart |",
            topology.lock_queue(LockName::KeyProber(0)).replace("0000000000000000", "<number>")
        )
    }
}

impl Display for Argument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => number.fmt(f),
        }
    }
}
